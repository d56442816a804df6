#include "loadtest/http_run.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "core/affinity.h"

namespace recstack {
namespace {

constexpr int64_t kSweepNs = 50'000'000;  // also the longest sleep between looks at stop()
constexpr size_t kReceiveBytes = 1 << 18;

int64_t ns_of(double seconds) { return static_cast<int64_t>(seconds * 1e9); }

std::string lost(int error) { return "connection lost: " + std::system_category().message(error); }

std::string cannot_connect(int error) {
  return "cannot connect: " + std::system_category().message(error);
}

std::string no_answer_within(double seconds) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), "no answer within %g s", seconds);
  return text.data();
}

}  // namespace

struct HttpRun::Line {
  Line(const HttpPlan& plan, int* error)
      : connection(plan.address, plan.bounds.max_response_bytes, error), since_ns(now_ns()) {}

  HttpConnection connection;
  int64_t since_ns;    // begun to open, or to send
  bool open = false;   // connected
  int64_t query = -1;  // on it; -1: none
};

HttpRun::HttpRun(HttpPlan plan, const HttpRecord& record)
    : plan_(std::move(plan)),
      record_(record),
      left_(plan_.queries),
      answers_(plan_.queries),
      received_(kReceiveBytes) {}

HttpRun::~HttpRun() = default;

int64_t HttpRun::run() {
  wake_promptly();
  open_first();
  start_ns_ = now_ns() + plan_.lead_ns;
  send_all();
  idle_.clear();
  lines_.clear();
  return start_ns_;
}

void HttpRun::open_first() {
  for (int64_t i = 0; i < plan_.bounds.opened; ++i) connect();
  const int64_t until_ns = now_ns() + ns_of(plan_.bounds.connect_timeout_s);
  for (int64_t now; opening_ > 0 && !stopped_ && (now = now_ns()) < until_ns;) {
    take_events(std::min(until_ns, now + kSweepNs));
  }
}

void HttpRun::send_all() {
  const int64_t n = plan_.queries;
  const auto due_ns = [&](int64_t query) { return start_ns_ + plan_.scheduled_ns[query]; };
  const int64_t until_ns = (n > 0 ? due_ns(n - 1) : start_ns_) + plan_.drain_ns;
  int64_t next = 0, sweep_ns = 0;
  while (left_ > 0 && !stopped_) {
    const int64_t now = now_ns();
    for (; next < n && due_ns(next) <= now; ++next) issue(next, now);
    send_waiting();
    if (next == n && now >= until_ns) return;
    if (now >= sweep_ns) {
      sweep(now);
      sweep_ns = now + kSweepNs;
    }
    take_events(std::min(next < n ? due_ns(next) : until_ns, sweep_ns));
  }
}

void HttpRun::issue(int64_t query, int64_t now) {
  record_.issued_ns[query] = now;
  if (static_cast<int64_t>(waiting_.size()) < plan_.bounds.max_waiting) {
    waiting_.push_back(query);
  } else {
    end(query, HttpAnswer::Kind::failure, "the client's queue is full: no free connection");
  }
}

void HttpRun::take_events(int64_t wake_ns) {
  // While a query is under way the server may need the core.
  const bool quiet = static_cast<int64_t>(idle_.size()) + opening_ == std::ssize(lines_);
  for (const epoll_event& event : poller_.wait(wake_ns, quiet ? plan_.spin_ns : 0)) {
    auto* line = static_cast<Line*>(event.data.ptr);
    if (line == nullptr || line->connection.closed()) continue;
    if (!line->open) {
      connected(line);
      continue;
    }
    if ((event.events & EPOLLOUT) != 0 && !line->connection.sent()) send_more(line);
    if ((event.events & ~EPOLLOUT) != 0 && !line->connection.closed()) receive(line);
  }
  dropped_.clear();
  send_waiting();
}

void HttpRun::connect() {
  int error = 0;
  auto line = std::make_unique<Line>(plan_, &error);
  if (error == 0 && !poller_.add(line->connection.fd(), EPOLLIN | EPOLLOUT, line.get())) {
    error = errno;
  }
  if (error != 0) {
    not_connected(cannot_connect(error));
    return;
  }
  opening_ += 1;
  lines_.push_back(std::move(line));
}

void HttpRun::connected(Line* line) {
  if (const int error = line->connection.connected(); error != 0) {
    drop(line, cannot_connect(error));
    return;
  }
  line->open = true;
  opening_ -= 1;
  poller_.change(line->connection.fd(), EPOLLIN, line);
  idle_.push_back(line);
}

void HttpRun::drop(Line* line, const std::string& reason) {
  poller_.remove(line->connection.fd());
  line->connection.close();
  std::erase(idle_, line);
  const auto at = std::find_if(lines_.begin(), lines_.end(),
                               [&](const auto& other) { return other.get() == line; });
  dropped_.push_back(std::move(*at));
  lines_.erase(at);
  if (!line->open) {
    opening_ -= 1;
    not_connected(reason);
  } else if (line->query >= 0) {
    end(line->query, HttpAnswer::Kind::failure, reason);
  }
}

// While others are open, a query waits for one of them.
void HttpRun::not_connected(const std::string& reason) {
  if (waiting_.empty() || !lines_.empty()) return;
  end(waiting_.front(), HttpAnswer::Kind::failure, reason);
  waiting_.pop_front();
}

void HttpRun::send_waiting() {
  while (!waiting_.empty() && !idle_.empty()) {
    Line* line = idle_.back();
    const int64_t query = waiting_.front();
    idle_.pop_back();
    waiting_.pop_front();
    send(line, query);
  }
  const int64_t wanted = static_cast<int64_t>(waiting_.size()) - opening_;
  const int64_t room = plan_.bounds.connections - static_cast<int64_t>(lines_.size());
  for (int64_t i = std::min(wanted, room); i > 0; --i) connect();
}

void HttpRun::send(Line* line, int64_t query) {
  const int64_t now = now_ns();
  line->query = query;
  line->since_ns = now;
  record_.sent_ns[query] = now;
  const HttpMessage& message = plan_.messages[plan_.which[query]];
  const int error = line->connection.send(message.before, gap(query, now), message.after);
  if (error != 0) {
    drop(line, lost(error));
  } else if (!line->connection.sent()) {
    poller_.change(line->connection.fd(), EPOLLIN | EPOLLOUT, line);
  }
}

void HttpRun::send_more(Line* line) {
  if (const int error = line->connection.send_more(); error != 0) {
    drop(line, lost(error));
  } else if (line->connection.sent()) {
    poller_.change(line->connection.fd(), EPOLLIN, line);
  }
}

std::string HttpRun::gap(int64_t query, int64_t now) const {
  std::string text;
  if (plan_.deadline_ns != kNever) {
    const int64_t due_ns = start_ns_ + plan_.scheduled_ns[query] + plan_.deadline_ns;
    const std::string left_us = std::to_string(std::max<int64_t>((due_ns - now) / 1000, 1));
    text = plan_.timeout_key;
    text +=
        left_us.size() <= plan_.timeout_digits ? left_us : std::string(plan_.timeout_digits, '9');
  }
  text.resize(plan_.timeout_key.size() + plan_.timeout_digits, ' ');
  return text;
}

void HttpRun::receive(Line* line) {
  using Got = HttpConnection::Got;
  int error = 0;
  const Got got = line->connection.receive(received_, &error);
  if (got == Got::nothing) return;
  if (got == Got::failed) return drop(line, lost(error));
  if (got == Got::end) return drop(line, "connection lost: closed by the server");
  if (line->query < 0) return drop(line, "the server sent something unasked");
  if (got == Got::more) return;
  end(std::exchange(line->query, -1), HttpAnswer::Kind::response,
      line->connection.response().take());
  if (got == Got::whole && line->connection.response().keeps_alive() && line->connection.sent()) {
    idle_.push_back(line);
  } else {
    drop(line, "");
  }
}

void HttpRun::sweep(int64_t now) {
  const std::string reason = no_answer_within(plan_.bounds.request_timeout_s);
  const int64_t oldest_ns = now - ns_of(plan_.bounds.request_timeout_s);
  const int64_t opening_ns = now - ns_of(plan_.bounds.connect_timeout_s);
  for (size_t i = lines_.size(); i-- > 0;) {
    Line* line = lines_[i].get();
    if (line->query >= 0 && line->since_ns < oldest_ns) {
      drop(line, reason);
    } else if (!line->open && line->since_ns < opening_ns) {
      drop(line, "cannot connect: timed out");
    }
  }
  while (!waiting_.empty() && record_.issued_ns[waiting_.front()] < oldest_ns) {
    end(waiting_.front(), HttpAnswer::Kind::failure, reason + ": no free connection");
    waiting_.pop_front();
  }
}

void HttpRun::end(int64_t query, HttpAnswer::Kind kind, std::string text) {
  record_.finished_ns[query] = now_ns();
  answers_[query] = {kind, std::move(text)};
  left_ -= 1;
}

}  // namespace recstack
