// A load test's run over HTTP/1.1: sends queries at times that were made beforehand, one per
// kept-alive connection at a time, and keeps what comes back, from one thread that Python and its
// lock cannot hold up.
//
// A query that comes late is sent at once and the later ones keep their times (open loop). One that
// finds no free connection waits for one; a new one is opened meanwhile. Everything is bounded:
// connections, waiting queries, sizes, time. An error of the transport ends the query that was on
// it and its connection; nothing is sent twice. Answers are framed here, and decoded after the run.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dispatch/clock.h"
#include "loadtest/connection.h"
#include "loadtest/poller.h"

namespace recstack {

// A whole request, but for the gap between its two parts, which says how long its sender has.
struct HttpMessage {
  std::string_view before;
  std::string_view after;
};

struct HttpBounds {
  int64_t connections = 128;
  int64_t opened = 8;  // of them before the run
  int64_t max_waiting = 10'000;
  int64_t max_response_bytes = 64 << 20;
  double connect_timeout_s = 5;
  double request_timeout_s = 30;
};

// What to send, and where to; all that is pointed to stays alive for as long as the run.
struct HttpPlan {
  HttpAddress address;
  std::vector<HttpMessage> messages;
  std::string_view timeout_key;  // the gap: this, then microseconds, left-aligned; or spaces alone
  size_t timeout_digits = 0;
  int64_t queries = 0;
  const int64_t* scheduled_ns = nullptr;  // (queries), ascending, since the start
  const int32_t* which = nullptr;         // (queries), into `messages`
  int64_t lead_ns = 0;                    // from when connections are open to the start
  int64_t deadline_ns = kNever;           // of each query, since its scheduled time
  int64_t drain_ns = 0;                   // how long to wait for answers after the last query
  int64_t spin_ns = 0;                    // of each wait with no query under way
  HttpBounds bounds;
};

// Where to record, (queries) each, on the monotonic clock. What did not happen is left as it was.
struct HttpRecord {
  int64_t* issued_ns = nullptr;  // taken from the schedule
  int64_t* sent_ns = nullptr;    // begun to be sent
  int64_t* finished_ns = nullptr;
};

struct HttpAnswer {
  enum class Kind : uint8_t { none, response, failure };  // `none`: not within the run
  Kind kind = Kind::none;
  std::string text;  // a response's bytes, whole or as far as it was found to be bad; or why none
};

class HttpRun {
 public:
  HttpRun(HttpPlan plan, const HttpRecord& record);  // throws std::system_error
  ~HttpRun();

  // Opens connections, sends everything, and waits until all are answered, `drain_ns` have passed,
  // or stop(). Once, from any thread. Returns the schedule's time zero.
  int64_t run();

  // Makes run() return soon. Any thread.
  void stop() { stopped_ = true; }

  // (queries); after run().
  std::vector<HttpAnswer>& answers() { return answers_; }

 private:
  struct Line;

  void open_first();
  void send_all();
  void issue(int64_t query, int64_t now);
  void take_events(int64_t wake_ns);

  void connect();
  void connected(Line* line);
  void drop(Line* line, const std::string& reason);
  void not_connected(const std::string& reason);

  void send_waiting();
  void send(Line* line, int64_t query);
  void send_more(Line* line);
  std::string gap(int64_t query, int64_t now) const;
  void receive(Line* line);

  void sweep(int64_t now);
  void end(int64_t query, HttpAnswer::Kind kind, std::string text);

  const HttpPlan plan_;
  const HttpRecord record_;
  Poller poller_;
  std::atomic<bool> stopped_{false};
  int64_t start_ns_ = 0;
  int64_t left_;         // queries that have not ended
  int64_t opening_ = 0;  // of lines_
  std::vector<HttpAnswer> answers_;
  std::deque<int64_t> waiting_;
  std::vector<std::unique_ptr<Line>> lines_;
  std::vector<std::unique_ptr<Line>> dropped_;  // closed; events in hand may still point to them
  std::vector<Line*> idle_;
  std::vector<char> received_;
};

}  // namespace recstack
