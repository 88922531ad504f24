-- Asks for the paths of the file BENCH_PATHS in turn, and prints what came of it as one line of JSON.

local requests, count, sent = {}, 0, 0

function init()
   for path in io.lines(os.getenv("BENCH_PATHS")) do
      count = count + 1
      requests[count] = wrk.format("GET", path)
   end
end

function request()
   sent = sent + 1
   return requests[sent % count + 1]
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"microseconds":%d,"bytes":%d,"not_ok":%d,"broken":%d,"p50":%d,"p99":%d}\n',
      summary.requests, summary.duration, summary.bytes, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99)
   ))
end
