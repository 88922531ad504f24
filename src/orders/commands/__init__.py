"""The commands: what each is called, takes, does and says.

cli           every command with its options
options       options and exit codes that commands share
dead_letters  the commands of dead letters
output        how a command returns its output: text, or JSON with --json
client        what commands ask of a running system
sending       orders of a file or a pipe, checked and sent; `storing` waits until they are stored
finding       lists and searches of a running system; `finding_text` shows them
resuming      lets stopped partitions be read again; `watching` sees what follows
positions     where partitions stand, for `storing` and `watching`
status        what there is to know of a running system; `status_text` shows it, `figures` reads its metrics
config        every setting, and where it comes from
completion    scripts for shells
"""
