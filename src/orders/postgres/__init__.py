"""The one door to psycopg.

connection      connections, our statements by name, and PostgreSQL's errors as ours
connect_errors  why a connection was refused, in our words
migrations      the schema
grants          what each role of ours needs
sql/            the statements and the migrations
"""
