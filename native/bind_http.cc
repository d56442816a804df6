// Python's view of a load test's run over HTTP.
#include <arpa/inet.h>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "bind_run.h"
#include "loadtest/http_run.h"

namespace recstack {
namespace {

using namespace nb::literals;

using Address = std::tuple<std::string, uint16_t, uint32_t, uint32_t>;  // host, port, flow, scope
using Messages = std::vector<std::pair<nb::bytes, nb::bytes>>;

HttpAddress address_of(const Address& given) {
  const auto& [host, port, flow, scope] = given;
  HttpAddress address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.bytes = sizeof *v4;
  } else if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    v6->sin6_flowinfo = htonl(flow);
    v6->sin6_scope_id = scope;
    address.bytes = sizeof *v6;
  } else {
    throw nb::value_error(("expected an address in numbers, got " + host).c_str());
  }
  return address;
}

std::string_view view_of(const nb::bytes& bytes) { return {bytes.c_str(), bytes.size()}; }

// Empties `answers` on the way, so that they are not held twice.
nb::list told(std::vector<HttpAnswer>* answers) {
  nb::list out;
  for (HttpAnswer& answer : *answers) {
    const std::string text = std::move(answer.text);
    if (answer.kind == HttpAnswer::Kind::none) out.append(nb::none());
    if (answer.kind == HttpAnswer::Kind::response) out.append(nb::bytes(text.data(), text.size()));
    if (answer.kind == HttpAnswer::Kind::failure) out.append(nb::str(text.data(), text.size()));
  }
  return out;
}

nb::tuple run_http(const Address& address, const HttpBounds& bounds, const Messages& messages,
                   const std::pair<nb::bytes, size_t>& timeout, const IntVector& which,
                   const Times& scheduled_ns, int64_t lead_ns, int64_t deadline_ns,
                   int64_t drain_ns, int64_t spin_ns, const TimesOut& issued_ns,
                   const TimesOut& sent_ns, const TimesOut& finished_ns) {
  const size_t n = scheduled_ns.shape(0);
  check_schedule(which, scheduled_ns, messages.size());
  if (issued_ns.shape(0) != n || sent_ns.shape(0) != n || finished_ns.shape(0) != n) {
    throw nb::value_error("expected arrays of one length");
  }
  HttpPlan plan{.address = address_of(address),
                .messages = {},
                .timeout_key = view_of(timeout.first),
                .timeout_digits = timeout.second,
                .queries = static_cast<int64_t>(n),
                .scheduled_ns = scheduled_ns.data(),
                .which = which.data(),
                .lead_ns = lead_ns,
                .deadline_ns = deadline_ns < 0 ? kNever : deadline_ns,
                .drain_ns = drain_ns,
                .spin_ns = spin_ns,
                .bounds = bounds};
  for (const auto& [before, after] : messages) {
    plan.messages.push_back({view_of(before), view_of(after)});
  }
  HttpRun run(std::move(plan), {issued_ns.data(), sent_ns.data(), finished_ns.data()});
  const int64_t start_ns = run_interruptibly([&] { return run.run(); }, [&] { run.stop(); });
  return nb::make_tuple(start_ns, told(&run.answers()));
}

}  // namespace

void bind_http(nb::module_& m) {
  nb::class_<HttpBounds>(m, "HttpBounds", "How much a run over HTTP takes at most.")
      .def(
          "__init__",
          [](HttpBounds* self, int64_t connections, int64_t opened, int64_t max_waiting,
             int64_t max_response_bytes, double connect_timeout_s, double request_timeout_s) {
            new (self)
                HttpBounds{connections,       opened,           max_waiting, max_response_bytes,
                           connect_timeout_s, request_timeout_s};
          },
          nb::kw_only(), "connections"_a, "opened"_a, "max_waiting"_a, "max_response_bytes"_a,
          "connect_timeout_s"_a, "request_timeout_s"_a);
  m.def("run_http", &run_http, "address"_a, "bounds"_a, "messages"_a, "timeout"_a,
        "which"_a.noconvert(), "scheduled_ns"_a.noconvert(), "lead_ns"_a, "deadline_ns"_a,
        "drain_ns"_a, "spin_ns"_a, "issued_ns"_a.noconvert(), "sent_ns"_a.noconvert(),
        "finished_ns"_a.noconvert(),
        "Send messages[which[i]] at `scheduled_ns[i]` after the start, from a native thread, and\n"
        "record when it was issued, begun to be sent, and ended, in the given arrays, which must\n"
        "be filled with what stands for never. `address` is (host in numbers, port, flow, scope);\n"
        "`messages` are requests in two parts, and `timeout` is (key, digits) of what is written\n"
        "between them: the key and the microseconds left, of `deadline_ns` from the scheduled\n"
        "time, or as many spaces where that is -1. Returns (start_ns, answers): for each query a\n"
        "response's bytes, whole or as far as it was found to be bad, why there is none, or None\n"
        "when the run was over before.");
}

}  // namespace recstack
