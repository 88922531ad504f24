"""What people look at.

start      the page at `/`, and one for each error
rendering  HTML from the files in `templates`, under one policy: the one door to Jinja2
"""
