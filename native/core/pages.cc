#include "core/pages.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#ifdef __linux__
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace recstack {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

}  // namespace

#ifdef __linux__

bool huge_pages_available() {
  const int file = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char text[128] = {};
  const ssize_t n = read(file, text, sizeof text - 1);
  close(file);
  return n > 0 && std::strstr(text, "[never]") == nullptr;
}

Pages Pages::allocate(size_t bytes) {
  Pages pages;
  if (bytes == 0 || bytes > SIZE_MAX - 2 * kHugePage) return pages;
  const bool large = bytes >= kHugePage;
  const size_t mapped = large ? round_up(bytes, kHugePage) + kHugePage : bytes;
  void* base = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return pages;
  pages.mapping_ = base;
  pages.mapped_ = mapped;
  pages.size_ = bytes;
  pages.data_ = static_cast<uint8_t*>(base);
  if (!large) return pages;
  const auto address = reinterpret_cast<uintptr_t>(base);
  pages.data_ += round_up(address, kHugePage) - address;
  pages.huge_ = madvise(pages.data_, round_up(bytes, kHugePage), MADV_HUGEPAGE) == 0 &&
                huge_pages_available();
  return pages;
}

void Pages::release() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_);
}

#else

constexpr size_t kLine = 64;

bool huge_pages_available() { return false; }

Pages Pages::allocate(size_t bytes) {
  Pages pages;
  if (bytes == 0 || bytes > SIZE_MAX - kLine) return pages;
  pages.mapping_ = std::aligned_alloc(kLine, round_up(bytes, kLine));
  if (pages.mapping_ == nullptr) return pages;
  std::memset(pages.mapping_, 0, bytes);
  pages.data_ = static_cast<uint8_t*>(pages.mapping_);
  pages.size_ = bytes;
  return pages;
}

void Pages::release() { std::free(mapping_); }

#endif

Pages::Pages(Pages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapping_(std::exchange(other.mapping_, nullptr)),
      mapped_(std::exchange(other.mapped_, 0)),
      huge_(std::exchange(other.huge_, false)) {}

Pages& Pages::operator=(Pages&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    mapping_ = std::exchange(other.mapping_, nullptr);
    mapped_ = std::exchange(other.mapped_, 0);
    huge_ = std::exchange(other.huge_, false);
  }
  return *this;
}

Pages::~Pages() { release(); }

}  // namespace recstack
