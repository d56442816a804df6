// Where an HTTP/1.1 response ends, read piece by piece with bounds.
//
// Only framing: status, Content-Length and Connection of the head. What a whole response says, and
// why one is bad, is found out after the run by recstack.loadtest.http1, which refuses the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace recstack {

class ResponseFrame {
 public:
  enum class State : uint8_t { more, whole, bad };

  explicit ResponseFrame(int64_t max_body_bytes) : max_body_bytes_(max_body_bytes) {}

  // Adds bytes. `bad`: not HTTP/1.1, no Content-Length, larger than allowed, or more bytes than the
  // response has. After `whole` and `bad` comes take(). A 1xx, which only announces, is left out.
  State feed(std::string_view data);

  // The bytes of the response, or of what was bad; the next one begins.
  std::string take();

  // Whether the server leaves the connection open, of the last response that was whole.
  bool keeps_alive() const { return keeps_alive_; }

 private:
  bool read_head(std::string_view head);

  const int64_t max_body_bytes_;
  std::string pieces_;
  size_t seen_bytes_ = 0;    // of pieces_, in which no head ends
  int64_t whole_bytes_ = 0;  // of head and body; 0: the head has not ended
  int status_ = 0;
  int64_t body_bytes_ = 0;
  bool keeps_alive_ = true;
};

}  // namespace recstack
