"""What programs ask for over HTTP.

serve    the process put together
app      the paths and what each answers
posts    a POST: sends it to Kafka, returns its outcome
reader   orders, outcomes and positions from PostgreSQL
waiting  questions of many requests, asked together
views    the shapes of an order
health   what is ready, and what is not; startup: what a start still waits for
scrape   a scrape of the metrics; request_metrics: which requests are counted apart
openapi  the description of it all; schemas: those of our structs; reference: the page of it
"""
