"""The one door to psycopg.

connection      connections, our statements by name, and PostgreSQL's errors as ours
connect_errors  why a connection was refused, in our words
indexes         those that are made beside the running system
migrations      the schema
grants          what each role of ours needs
sql/            the statements and the migrations
"""
