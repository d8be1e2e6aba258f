#include "backend.h"

#include <utility>

#define GANOPS_EXPORT extern "C" __attribute__((visibility("default"), used))

namespace {
thread_local int64_t refused_bytes = 0;
}

void ganops::note_refused_bytes(int64_t bytes) { refused_bytes = bytes; }

// Zero where the last failure was no refused allocation. Asking resets it.
GANOPS_EXPORT int64_t ganops_refused_bytes() { return std::exchange(refused_bytes, 0); }

#if defined(GANOPS_EMULATED)

namespace ganops {
Target::Target(const char* op, int32_t) : scope_(op), stream_(ganops_emulation::stream()) {}
}  // namespace ganops

#elif defined(GANOPS_BACKEND_CUDA)

#include <dlfcn.h>

#include <stdexcept>

// What the library was compiled for. ganops.build_info() reads it out of the file, on machines too where it is not
// loaded.
#define GANOPS_TEXT(...) #__VA_ARGS__
#define GANOPS_TEXT_OF(...) GANOPS_TEXT(__VA_ARGS__)
GANOPS_EXPORT const char ganops_architectures[] = "ganops architectures: " GANOPS_TEXT_OF(GANOPS_ARCHITECTURES) ";";

// The CUDA version of the runtime that is linked in, and the newest that the driver supports (0 without a driver), as
// 13000 for 13.0. A driver of an older major version refuses every call of the runtime; ganops/_library.py compares.
GANOPS_EXPORT int ganops_cuda_runtime_version() { return CUDART_VERSION; }
GANOPS_EXPORT int ganops_cuda_driver_version() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

namespace ganops {
namespace {

// This library may have been built beside a torch without CUDA, where the function's library cannot be linked. Whoever
// has a CUDA tensor has that library loaded, so it is looked up there.
cudaStream_t current_stream(int32_t device) {
  using Getter = AOTITorchError (*)(int32_t, void**);
  static const Getter getter = [] {
    constexpr const char* name = "aoti_torch_get_current_cuda_stream";
    void* found = dlsym(RTLD_DEFAULT, name);
    for (const char* library : {"libtorch_cuda.so", "libtorch_hip.so", "libtorch.so"}) {
      if (found) break;
      if (void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD)) found = dlsym(handle, name);
    }
    if (!found) throw std::runtime_error(std::string("ganops: the loaded torch has no ") + name);
    return reinterpret_cast<Getter>(found);
  }();
  void* stream = nullptr;
  if (getter(device, &stream) != 0) throw std::runtime_error("ganops: torch gave no current CUDA stream");
  return static_cast<cudaStream_t>(stream);
}

}  // namespace

Target::Target(const char*, int32_t device) : guard_(device), stream_(current_stream(device)) {}

}  // namespace ganops

#else

namespace ganops {

Target::Target(const char*, int32_t) {}

namespace cpu {
void parallel_for(int64_t begin, int64_t end, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context) {
  TORCH_ERROR_CODE_CHECK(torch_parallel_for(begin, end, grain, body, context));
}
}  // namespace cpu

}  // namespace ganops

#endif
