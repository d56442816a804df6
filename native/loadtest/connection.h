// One kept-alive HTTP/1.1 connection: a request goes out and its response comes in, piece by piece;
// nothing blocks. Errors are errno's; 0 is none, or that there is more to do when the socket is
// ready.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "loadtest/response.h"

namespace recstack {

struct HttpAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
};

class HttpConnection {
 public:
  // Begins to connect.
  HttpConnection(const HttpAddress& address, int64_t max_response_bytes, int* error);
  ~HttpConnection() { close(); }
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  void close();
  bool closed() const { return fd_ < 0; }
  int fd() const { return fd_; }

  // What became of connecting, once the socket is writable.
  int connected() const;

  // Begins to send before + gap + after; the first and the last stay alive until all is sent.
  int send(std::string_view before, std::string gap, std::string_view after);
  int send_more();
  bool sent() const;

  enum class Got : uint8_t { nothing, more, whole, bad, end, failed };
  // Reads once, by way of `buffer`. `end`: the server closed it; `failed`: `error` says why.
  Got receive(std::span<char> buffer, int* error);
  ResponseFrame& response() { return response_; }

 private:
  int fd_;
  std::string gap_;
  std::array<std::string_view, 3> unsent_;
  ResponseFrame response_;
};

}  // namespace recstack
