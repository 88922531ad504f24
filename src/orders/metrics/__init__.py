"""What is counted and measured.

table       every metric, with its labels and what it says
kinds       counters, gauges, histograms, and where a process keeps their values
files       the file in which a process counts, beside the memory
exposition  the page that Prometheus reads
"""
