// Runs over HTTP: when queries are sent, what comes back in pieces, what is bounded, and servers
// that lie, hang up, fall silent or are not there.
#include "loadtest/http_run.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "check.h"
#include "http_server.h"

namespace recstack {
namespace {

using test::HttpServer;
using test::response;
using test::say;
using Kind = HttpAnswer::Kind;
using State = ResponseFrame::State;

constexpr int64_t kMs = 1'000'000;

void sleep_ms(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

bool echo(int fd, const std::string& body, int64_t) {
  say(fd, response(body));
  return true;
}

// Queries 0, 1, ... whose bodies are their numbers, with the gap of 9 bytes behind.
struct Run {
  Run(const HttpServer& server, int64_t queries, int64_t gap_ns, int64_t padding = 0) {
    plan.address = server.address();
    for (int64_t i = 0; i < queries; ++i) {
      scheduled_ns.push_back(i * gap_ns);
      which.push_back(static_cast<int32_t>(i));
      const std::string body = std::to_string(1000 + i) + std::string(padding, '.');
      befores.push_back("POST / HTTP/1.1\r\nContent-Length: " + std::to_string(body.size() + 9) +
                        "\r\n\r\n");
      afters.push_back(body);
    }
    for (int64_t i = 0; i < queries; ++i) plan.messages.push_back({befores[i], afters[i]});
    issued_ns.assign(queries, -1);
    sent_ns.assign(queries, -1);
    finished_ns.assign(queries, -1);
    plan.timeout_key = "left=";
    plan.timeout_digits = 4;
    plan.queries = queries;
    plan.scheduled_ns = scheduled_ns.data();
    plan.which = which.data();
    plan.lead_ns = kMs;
    plan.drain_ns = 20'000 * kMs;
    plan.bounds = {.connections = 4, .opened = 2};
  }

  void go() {
    run = std::make_unique<HttpRun>(
        plan, HttpRecord{issued_ns.data(), sent_ns.data(), finished_ns.data()});
    start_ns = run->run();
  }
  int64_t count(Kind kind) const {
    return std::count_if(run->answers().begin(), run->answers().end(),
                         [&](const HttpAnswer& answer) { return answer.kind == kind; });
  }
  // How many failures say `text`.
  int64_t saying(const std::string& text) const {
    return std::count_if(run->answers().begin(), run->answers().end(), [&](const auto& answer) {
      return answer.kind == Kind::failure && answer.text.find(text) != std::string::npos;
    });
  }
  bool echoed(int64_t query) const {
    const HttpAnswer& answer = run->answers()[query];
    return answer.kind == Kind::response && answer.text.ends_with(afters[query]);
  }

  HttpPlan plan;
  std::vector<int64_t> scheduled_ns, issued_ns, sent_ns, finished_ns;
  std::vector<int32_t> which;
  std::vector<std::string> befores, afters;
  std::unique_ptr<HttpRun> run;
  int64_t start_ns = 0;
};

void responses_come_in_pieces_one_after_another() {
  const std::string whole = response("hello", "X-Y:  z \r\n");
  for (const size_t step : {size_t{1}, size_t{2}, size_t{7}, whole.size()}) {
    ResponseFrame frame(100);
    for (int turn = 0; turn < 3; ++turn) {
      for (size_t at = 0; at < whole.size(); at += step) {
        const bool last = at + step >= whole.size();
        CHECK(frame.feed(whole.substr(at, step)) == (last ? State::whole : State::more));
      }
      CHECK(frame.keeps_alive());
      CHECK(frame.take() == whole);
    }
  }
}

void heads_are_read() {
  const auto fed = [](const std::string& text, bool alive = true) {
    ResponseFrame frame(100);
    const State state = frame.feed(text);
    CHECK(state != State::whole || frame.keeps_alive() == alive);
    return state;
  };
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  CHECK(fed(ok + "CONTENT-length :\t1\r\n\r\nx") == State::whole);
  CHECK(fed(ok + "Connection: Close\r\nContent-Length: 0\r\n\r\n", false) == State::whole);
  CHECK(fed("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false) == State::whole);
  CHECK(fed("HTTP/1.0 200\r\nconnection: keep-alive\r\nContent-Length: 0\r\n\r\n") == State::whole);
  CHECK(fed("HTTP/1.1 204 No Content\r\n\r\n") == State::whole);
  CHECK(fed("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n") == State::whole);
  CHECK(fed("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20") == State::more);
  CHECK(fed(ok + "Content-Length: 100\r\n\r\n") == State::more);
  CHECK(fed(ok + std::string(60'000, 'x')) == State::more);
  for (const std::string& bad :
       {std::string("SMTP hello\r\n\r\n"), std::string("\r\n\r\n"),
        std::string("HTTP/1.1 20\r\n\r\n"), std::string("HTTP/1.1 099 No\r\n\r\n"),
        std::string("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"), ok + "no colon\r\n\r\n",
        ok + "\r\n", ok + "Content-Length: -1\r\n\r\n", ok + "Content-Length: 101\r\n\r\n",
        ok + "Content-Length: 99999999999999999999999\r\n\r\n",
        ok + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        ok + "Content-Length: 1\r\n\r\nxx", ok + std::string(70'000, 'x')}) {
    test::context = bad.substr(0, 80);
    CHECK(fed(bad) == State::bad);
  }
  test::context.clear();
}

void all_are_sent_in_time_and_answered() {
  for (const int family : {AF_INET, AF_INET6}) {
    HttpServer server(echo, family);
    if (family == AF_INET6 && !server.listens()) continue;  // a machine without IPv6
    Run run(server, 300, kMs / 5);
    run.plan.spin_ns = 30'000;
    run.go();
    CHECK_EQ(run.count(Kind::response), 300);
    CHECK(server.connections() <= 4);
    for (int64_t i = 0; i < 300; ++i) {
      CHECK(run.echoed(i));
      CHECK(run.issued_ns[i] >= run.start_ns + run.scheduled_ns[i]);
      CHECK(run.sent_ns[i] >= run.issued_ns[i]);
      CHECK(run.finished_ns[i] > run.sent_ns[i]);
    }
    for (const std::string& body : server.bodies()) CHECK(body.starts_with("         1"));
  }
}

void the_time_that_is_left_goes_along() {
  for (const auto& [deadline_ns, least, most] :
       {std::tuple{9 * kMs, 1, 9000}, {int64_t{1}, 1, 1}, {60'000 * kMs, 9999, 9999}}) {
    HttpServer server(echo);
    Run run(server, 5, kMs);
    run.plan.deadline_ns = deadline_ns;
    run.go();
    for (const std::string& body : server.bodies()) {
      const int left_us = std::stoi(body.substr(5, 4));
      CHECK(body.starts_with("left=") && least <= left_us && left_us <= most);
    }
  }
}

void a_response_may_come_byte_by_byte() {
  HttpServer server([](int fd, const std::string& body, int64_t) {
    for (const char c : response(body)) say(fd, {&c, 1});
    return true;
  });
  Run run(server, 20, kMs);
  run.go();
  for (int64_t i = 0; i < 20; ++i) CHECK(run.echoed(i));
}

void a_request_larger_than_the_sockets_buffer_goes_in_pieces() {
  HttpServer server([](int fd, const std::string& body, int64_t) {
    say(fd, response(body.substr(body.size() - 3)));
    return true;
  });
  Run run(server, 3, 0, 8'000'000);
  run.go();
  CHECK_EQ(run.count(Kind::response), 3);
  for (const std::string& body : server.bodies()) CHECK_EQ(body.size(), size_t{8'000'013});
}

void broken_answers_are_kept_and_their_connections_are_not() {
  HttpServer server([](int fd, const std::string& body, int64_t count) {
    if (count % 3 == 0) return false;
    say(fd, count % 3 == 1 ? response(body) : "SMTP ready\r\n\r\n");
    return true;
  });
  Run run(server, 60, kMs / 5);
  run.go();
  CHECK_EQ(run.saying("connection lost"), 20);
  CHECK_EQ(run.count(Kind::response), 40);
  for (const HttpAnswer& answer : run.run->answers()) {
    CHECK(answer.kind != Kind::response || answer.text.starts_with("HTTP/1.1 200") ||
          answer.text == "SMTP ready\r\n\r\n");
  }
  std::vector<std::string> bodies = server.bodies();
  std::sort(bodies.begin(), bodies.end());
  CHECK(std::unique(bodies.begin(), bodies.end()) == bodies.end());  // nothing sent twice
  CHECK(server.connections() >= 40);
}

void a_server_that_dies_in_an_answer_is_an_error() {
  HttpServer server([](int fd, const std::string& body, int64_t count) {
    const std::string whole = response(body);
    say(fd, std::string_view(whole).substr(0, count % whole.size()));
    return false;
  });
  Run run(server, 60, 0);
  run.go();
  CHECK_EQ(run.saying("connection lost"), 60);
}

void closing_is_obeyed_and_unasked_bytes_end_a_connection() {
  HttpServer closing([](int fd, const std::string& body, int64_t) {
    say(fd, response(body, "Connection: close\r\n"));
    return true;
  });
  Run closed(closing, 12, kMs);
  closed.go();
  CHECK_EQ(closed.count(Kind::response), 12);
  CHECK(closing.connections() >= 12);

  HttpServer babbling([](int fd, const std::string& body, int64_t) {
    say(fd, response(body));
    sleep_ms(1);
    say(fd, "and another thing");
    return true;
  });
  Run babbled(babbling, 10, 10 * kMs);
  babbled.go();
  CHECK_EQ(babbled.count(Kind::response), 10);
  CHECK(babbling.connections() >= 10);
}

void a_silent_server_is_given_up_on() {
  std::atomic<bool> free = false;
  HttpServer server([&](int, const std::string&, int64_t) {
    free.wait(false);
    return false;
  });
  Run silent(server, 6, 0);
  silent.plan.bounds.connections = 2;
  silent.plan.bounds.request_timeout_s = 0.1;
  silent.go();
  CHECK_EQ(silent.saying("no answer within 0.1 s"), 6);
  CHECK(silent.saying(": no free connection") >= 2);

  Run lost(server, 6, 0);
  lost.plan.drain_ns = 20 * kMs;
  lost.go();
  CHECK_EQ(lost.count(Kind::none), 6);
  CHECK_EQ(lost.finished_ns[0], -1);

  Run full(server, 20, 0);
  full.plan.bounds.max_waiting = 5;
  full.plan.drain_ns = 20 * kMs;
  full.go();
  CHECK_EQ(full.saying("queue is full"), 15);
  free = true;
  free.notify_all();
}

void without_a_server_every_query_ends_in_an_error() {
  HttpServer server(echo);
  server.stop();
  Run run(server, 20, kMs / 10);
  run.go();
  CHECK_EQ(run.saying("cannot connect: Connection refused"), 20);
}

void a_run_can_be_stopped() {
  HttpServer server(echo);
  Run run(server, 3, 3600 * 1000 * kMs);
  run.run = std::make_unique<HttpRun>(
      run.plan, HttpRecord{run.issued_ns.data(), run.sent_ns.data(), run.finished_ns.data()});
  std::thread stopping([&] {
    sleep_ms(20);
    run.run->stop();
  });
  run.run->run();
  stopping.join();
  CHECK_EQ(run.count(Kind::none), 2);
}

}  // namespace
}  // namespace recstack

int main() {
  recstack::responses_come_in_pieces_one_after_another();
  recstack::heads_are_read();
  recstack::all_are_sent_in_time_and_answered();
  recstack::the_time_that_is_left_goes_along();
  recstack::a_response_may_come_byte_by_byte();
  recstack::a_request_larger_than_the_sockets_buffer_goes_in_pieces();
  recstack::broken_answers_are_kept_and_their_connections_are_not();
  recstack::a_server_that_dies_in_an_answer_is_an_error();
  recstack::closing_is_obeyed_and_unasked_bytes_end_a_connection();
  recstack::a_silent_server_is_given_up_on();
  recstack::without_a_server_every_query_ends_in_an_error();
  recstack::a_run_can_be_stopped();
  return recstack::test::finish();
}
