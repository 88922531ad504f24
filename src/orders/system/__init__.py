"""The running system: its supervisor and processes, what it holds of its machine, and what commands ask of it.

supervisor    `orders run`: everything started, watched, started again, stopped
services      PostgreSQL and Kafka of our own, or those that are given
children      its processes; shutdown: signals, and the end of it all
state         the state file, by which commands find what runs; probe: asking it whether it is ready
claims        the data directory and the port, one system each; capacity, machine: what the machine has
unheard       memory emptied while no keeper hears what others change
steps         what a start says on the terminal; progress_bar: its bars
"""
