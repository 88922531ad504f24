"""Dead letters: messages that were refused, with their bytes and why.

stored   what PostgreSQL keeps of them and of what was done with them
actions  what the commands do with them, and how they show it
replay   sends them to the topic again, and waits for what becomes of them
copies   copies each to a topic of its own
"""
