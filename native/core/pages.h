// Anonymous memory on huge pages where the system has them: a random row of a table of many
// gigabytes then costs one cache miss instead of two (the second is the page table's).
#pragma once

#include <cstddef>
#include <cstdint>

namespace recstack {

// Zeroed memory, freed with this object. Huge pages are asked for, not reserved: the kernel gives
// them as pages are touched, where it has them free.
class Pages {
 public:
  Pages() = default;
  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages();

  // `bytes` bytes, aligned to 64, and to 2 MiB where they span that much. Empty (data() null) when
  // bytes is 0 or there is no memory.
  static Pages allocate(size_t bytes);

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  // Whether huge pages were asked for and the system may give them.
  bool huge() const { return huge_; }

 private:
  void release();

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  void* mapping_ = nullptr;
  size_t mapped_ = 0;
  bool huge_ = false;
};

// Whether the kernel gives huge pages to memory that asks for them with madvise.
bool huge_pages_available();

}  // namespace recstack
