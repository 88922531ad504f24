"""The HTTP of a serve process: what RFC 9110 to 9112 and 9457 ask for, whatever is served.

fastlane         answers a GET of an order in memory at once
server           the server, and what is set of it
flow_control     what a connection may hold, and how it ends
request_line     what is demanded of a request's line, target and size
request_fields   what a POST asks for beside its body
content_coding   bodies that are compressed
hosts            the names that are answered to
limits           what a client may take up
representation   ETags, gzip and conditions of what is served
problems         errors
refusals         errors of requests that no application sees
request_ids      request and trace ids
durations        how long requests took, by method, route and status
instrumented     a request on its way through the application, and what is counted of it
"""
