#include "loadtest/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace recstack {
namespace {

bool comes_again(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

HttpConnection::HttpConnection(const HttpAddress& address, int64_t max_response_bytes, int* error)
    : fd_(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
      response_(max_response_bytes) {
  const int on = 1;
  const auto* to = reinterpret_cast<const sockaddr*>(&address.storage);
  const bool failed = fd_ < 0 || setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
                      connect(fd_, to, address.bytes) != 0;
  *error = failed && errno != EINPROGRESS && errno != EINTR ? errno : 0;
}

void HttpConnection::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

int HttpConnection::connected() const {
  int error = 0;
  socklen_t bytes = sizeof error;
  return getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 ? error : errno;
}

int HttpConnection::send(std::string_view before, std::string gap, std::string_view after) {
  gap_ = std::move(gap);
  unsent_ = {before, gap_, after};
  return send_more();
}

int HttpConnection::send_more() {
  std::array<iovec, 3> parts;
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i] = {const_cast<char*>(unsent_[i].data()), unsent_[i].size()};
  }
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  const ssize_t sent = sendmsg(fd_, &message, MSG_NOSIGNAL);
  if (sent < 0) return comes_again(errno) ? 0 : errno;
  auto left = static_cast<size_t>(sent);
  for (std::string_view& part : unsent_) {
    const size_t gone = std::min(left, part.size());
    part.remove_prefix(gone);
    left -= gone;
  }
  return 0;
}

bool HttpConnection::sent() const {
  return std::all_of(unsent_.begin(), unsent_.end(), [](auto part) { return part.empty(); });
}

HttpConnection::Got HttpConnection::receive(std::span<char> buffer, int* error) {
  const ssize_t got = recv(fd_, buffer.data(), buffer.size(), 0);
  if (got == 0) return Got::end;
  if (got < 0) {
    *error = errno;
    return comes_again(errno) ? Got::nothing : Got::failed;
  }
  switch (response_.feed({buffer.data(), static_cast<size_t>(got)})) {
    case ResponseFrame::State::more:
      return Got::more;
    case ResponseFrame::State::whole:
      return Got::whole;
    default:
      return Got::bad;
  }
}

}  // namespace recstack
