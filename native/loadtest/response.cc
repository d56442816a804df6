#include "loadtest/response.h"

#include <algorithm>
#include <utility>

namespace recstack {
namespace {

constexpr size_t kMaxHeadBytes = 64 * 1024;
constexpr std::string_view kLineEnd = "\r\n", kHeadEnd = "\r\n\r\n";

// As Python's str.strip() of Latin-1 has it.
bool is_space(char c) {
  const auto u = static_cast<unsigned char>(c);
  return u == ' ' || (u >= '\t' && u <= '\r') || (u >= 0x1c && u <= 0x1f) || u == 0x85 || u == 0xa0;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view stripped(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// `name` is lower case.
bool same_name(std::string_view text, std::string_view name) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(text.begin(), text.end(), name.begin(), name.end(),
                    [&](char a, char b) { return lower(a) == b; });
}

std::string_view cut_line(std::string_view* text) {
  const size_t end = std::min(text->find(kLineEnd), text->size());
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + kLineEnd.size(), text->size()));
  return line;
}

// The number that is all of `text`, at most limit + 1; -1 when it is none.
int64_t parse_bytes(std::string_view text, int64_t limit) {
  if (text.empty() || !std::all_of(text.begin(), text.end(), is_digit)) return -1;
  int64_t value = 0;
  for (const char c : text) {
    if (value > (limit - (c - '0')) / 10) return limit + 1;
    value = value * 10 + (c - '0');
  }
  return value;
}

}  // namespace

ResponseFrame::State ResponseFrame::feed(std::string_view data) {
  pieces_ += data;
  while (whole_bytes_ == 0) {
    const size_t end = pieces_.find(kHeadEnd, seen_bytes_);
    if (end == std::string::npos && pieces_.size() <= kMaxHeadBytes) {
      seen_bytes_ = pieces_.size() - std::min(pieces_.size(), kHeadEnd.size() - 1);
      return State::more;
    }
    if (end > kMaxHeadBytes || !read_head(std::string_view(pieces_).substr(0, end))) {
      return State::bad;
    }
    seen_bytes_ = 0;
    if (status_ < 200) {
      pieces_.erase(0, end + kHeadEnd.size());
    } else {
      whole_bytes_ = static_cast<int64_t>(end + kHeadEnd.size()) + body_bytes_;
    }
  }
  const auto got = static_cast<int64_t>(pieces_.size());
  if (got < whole_bytes_) return State::more;
  return got == whole_bytes_ ? State::whole : State::bad;
}

// False for one that is bad.
bool ResponseFrame::read_head(std::string_view head) {
  std::string_view first = cut_line(&head);
  const bool modern = first.starts_with("HTTP/1.1 ");
  if (!modern && !first.starts_with("HTTP/1.0 ")) return false;
  const std::string_view status = first.substr(9, 3);
  if (status.size() != 3 || !std::all_of(status.begin(), status.end(), is_digit)) return false;
  status_ = static_cast<int>(parse_bytes(status, 999));
  if (status_ < 100) return false;

  std::string_view length, connection = modern ? "" : "close";
  bool transfer_encoding = false;
  while (!head.empty()) {
    const std::string_view line = cut_line(&head);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return false;
    const std::string_view name = stripped(line.substr(0, colon));
    const std::string_view value = stripped(line.substr(colon + 1));
    if (same_name(name, "content-length")) length = value;
    if (same_name(name, "connection")) connection = value;
    if (same_name(name, "transfer-encoding")) transfer_encoding = true;
  }
  if (status_ < 200) return true;
  keeps_alive_ = !same_name(connection, "close");
  body_bytes_ = 0;
  if (status_ == 204 || status_ == 304) return true;
  body_bytes_ = parse_bytes(length, max_body_bytes_);
  return !transfer_encoding && body_bytes_ >= 0 && body_bytes_ <= max_body_bytes_;
}

std::string ResponseFrame::take() {
  seen_bytes_ = 0;
  whole_bytes_ = 0;
  return std::exchange(pieces_, {});
}

}  // namespace recstack
