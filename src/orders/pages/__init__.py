"""What people look at.

start      the page at `/`, and one for each error
"""
