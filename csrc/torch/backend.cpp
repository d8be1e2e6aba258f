#include "backend.h"

#if defined(GANOPS_EMULATED)

namespace ganops {
Target::Target(const char* op, int32_t) : stream_(ganops_emulation::stream()), scope_(op) {}
Target::~Target() = default;
}  // namespace ganops

#elif defined(GANOPS_BACKEND_CUDA)

#include <dlfcn.h>

#include <stdexcept>

// What the library was compiled for. ganops.build_info() reads it out of the file, on machines too where it is not
// loaded.
#define GANOPS_TEXT(...) #__VA_ARGS__
#define GANOPS_TEXT_OF(...) GANOPS_TEXT(__VA_ARGS__)
extern "C" __attribute__((visibility("default"), used)) const char ganops_architectures[] =
    "ganops architectures: " GANOPS_TEXT_OF(GANOPS_ARCHITECTURES) ";";

namespace ganops {
namespace {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("ganops: ") + what + ": " + cudaGetErrorString(error));
}

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

Target::Target(const char*, int32_t device) : current_(device) {
  check(cudaGetDevice(&previous_), "cudaGetDevice");
  if (previous_ != current_) check(cudaSetDevice(current_), "cudaSetDevice");
  stream_ = current_stream(device);
}

Target::~Target() {
  if (previous_ != current_) cudaSetDevice(previous_);
}

}  // namespace ganops

#else

namespace ganops {

Target::Target(const char*, int32_t) {}
Target::~Target() = default;

namespace cpu {
void parallel_for(int64_t begin, int64_t end, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context) {
  TORCH_ERROR_CODE_CHECK(torch_parallel_for(begin, end, grain, body, context));
}
}  // namespace cpu

}  // namespace ganops

#endif
