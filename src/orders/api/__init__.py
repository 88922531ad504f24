"""What programs ask for over HTTP.

serve         the process put together
app           all endpoints, and the application of them
orders        posting and getting an order; probes, metrics, site, descriptions: the other resources
endpoint      how a handler declares an endpoint; answers: what it returns
dependencies  what handlers stand on; examples: bodies for the descriptions
posts         a POST: sends it to Kafka, returns its outcome
reader        orders, outcomes and positions from PostgreSQL
waiting       questions of many requests, asked together
views         the shapes of an order
health        what is ready, and what is not; startup: what a start still waits for
scrape        a scrape of the metrics; request_metrics: which requests are counted apart
openapi       the description of it all; schemas: those of our structs; reference: the page of it
"""
