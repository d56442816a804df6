// The extension module: each part binds itself.
#include <nanobind/nanobind.h>

namespace recstack {
void bind_program(nanobind::module_& m);
void bind_memory(nanobind::module_& m);
void bind_dispatch(nanobind::module_& m);
void bind_http(nanobind::module_& m);
void bind_peaks(nanobind::module_& m);
}  // namespace recstack

NB_MODULE(_native, m) {
  m.doc() = "Native core of recstack: kernels, programs, lanes. Use it through recstack.";
  recstack::bind_program(m);
  recstack::bind_memory(m);
  recstack::bind_dispatch(m);
  recstack::bind_http(m);
  recstack::bind_peaks(m);
}
