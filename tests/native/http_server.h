// A small HTTP server for tests: a thread per connection, which reads whole requests and answers
// each as it is told.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "loadtest/connection.h"

namespace recstack::test {

// Sends all; a client that has gone is none of the server's business.
inline void say(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    text.remove_prefix(static_cast<size_t>(sent));
  }
}

inline std::string response(std::string_view body, std::string_view headers = "") {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(headers) + "\r\n" + std::string(body);
}

class HttpServer {
 public:
  // Answers the `count`-th request, its body being `body`, on `fd`; false hangs up.
  using Answer = std::function<bool(int fd, const std::string& body, int64_t count)>;

  explicit HttpServer(Answer answer, int family = AF_INET)
      : answer_(std::move(answer)), listener_(socket(family, SOCK_STREAM, 0)) {
    address_.storage.ss_family = static_cast<sa_family_t>(family);
    address_.bytes = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    if (family == AF_INET) {
      reinterpret_cast<sockaddr_in*>(&address_.storage)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
      reinterpret_cast<sockaddr_in6*>(&address_.storage)->sin6_addr = in6addr_loopback;
    }
    auto* at = reinterpret_cast<sockaddr*>(&address_.storage);
    listens_ = bind(listener_, at, address_.bytes) == 0 && listen(listener_, 128) == 0 &&
               getsockname(listener_, at, &address_.bytes) == 0;
    if (listens_) accepting_ = std::thread([this] { accept_all(); });
  }
  ~HttpServer() { stop(); }

  // Closes everything: nobody answers there any more.
  void stop() {
    shutdown(listener_, SHUT_RDWR);
    if (accepting_.joinable()) accepting_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : serving_) thread.join();
    serving_.clear();
    if (listener_ >= 0) close(listener_);
    listener_ = -1;
  }

  bool listens() const { return listens_; }
  const HttpAddress& address() const { return address_; }
  int64_t connections() const { return connections_; }
  int64_t requests() const { return requests_; }
  std::vector<std::string> bodies() const {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }

 private:
  void accept_all() {
    for (int fd; (fd = accept(listener_, nullptr, nullptr)) >= 0;) {
      connections_ += 1;
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
      serving_.emplace_back([this, fd] { serve(fd); });
    }
  }

  void serve(int fd) {
    std::string got;
    std::vector<char> buffer(1 << 16);
    for (ssize_t n; (n = recv(fd, buffer.data(), buffer.size(), 0)) > 0;) {
      got.append(buffer.data(), static_cast<size_t>(n));
      const size_t head = got.find("\r\n\r\n");
      if (head == std::string::npos) continue;
      const size_t length = std::stoul(got.substr(got.find("Content-Length: ") + 16, 20));
      if (got.size() < head + 4 + length) continue;
      const std::string body = got.substr(head + 4);
      got.clear();
      {
        const std::lock_guard lock(mutex_);
        bodies_.push_back(body);
      }
      if (!answer_(fd, body, requests_++)) break;
    }
    const std::lock_guard lock(mutex_);
    std::erase(open_, fd);
    close(fd);
  }

  const Answer answer_;
  int listener_;
  HttpAddress address_;
  bool listens_ = false;
  std::atomic<int64_t> connections_ = 0, requests_ = 0;
  mutable std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::string> bodies_;
  std::vector<std::thread> serving_;
  std::thread accepting_;
};

}  // namespace recstack::test
