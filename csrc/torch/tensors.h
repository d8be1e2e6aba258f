// What the wrappers share: checks that memory safety needs (those that speak to users are in Python), layouts and
// allocation.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "backend.h"

namespace ganops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline DType dtype_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return DType::float32;
    case ScalarType::Double:
      return DType::float64;
    case ScalarType::Half:
      return DType::float16;
    case ScalarType::BFloat16:
      return DType::bfloat16;
    default:
      STD_TORCH_CHECK(false, "ganops: the kernels take float16, bfloat16, float32 and float64");
  }
}

// Whether the elements fill one stretch of memory, in any order of dimensions.
inline bool is_dense(const Tensor& tensor) {
  if (tensor.is_contiguous()) return true;
  const auto sizes = tensor.sizes(), strides = tensor.strides();
  std::vector<std::pair<int64_t, int64_t>> dimensions;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) return true;
    if (sizes[i] != 1) dimensions.emplace_back(strides[i], sizes[i]);
  }
  std::sort(dimensions.begin(), dimensions.end());
  int64_t expected = 1;
  for (const auto& [stride, size] : dimensions) {
    if (stride != expected) return false;
    expected *= size;
  }
  return true;
}

// Whether dimension 0 is the outermost in memory, so that each sample is one stretch.
inline bool is_dense_by_sample(const Tensor& tensor) {
  if (tensor.is_contiguous()) return true;
  const int64_t samples = tensor.sizes()[0];
  return is_dense(tensor) && (samples <= 1 || tensor.stride(0) == tensor.numel() / samples);
}

// Whether the channels of an image or a volume's place lie side by side, place after place; strides of a single place
// count for nothing.
inline bool is_channels_last(const Tensor& tensor) {
  const auto sizes = tensor.sizes(), strides = tensor.strides();
  const int64_t dim = tensor.dim();
  if (dim != 4 && dim != 5) return false;
  int64_t expected = 1;
  for (int64_t i = 0; i < dim; ++i) {
    const int64_t dimension = i == 0 ? 1 : i == dim - 1 ? 0 : dim - i;
    if (sizes[dimension] == 1) continue;
    if (strides[dimension] != expected) return false;
    expected *= sizes[dimension];
  }
  return true;
}

// A tensor read as (samples, size).
struct Batch {
  int64_t samples, size;

  explicit Batch(const Tensor& tensor) {
    STD_TORCH_CHECK(tensor.dim() >= 1, "ganops: a batch has at least one dimension");
    samples = tensor.sizes()[0];
    size = samples > 0 ? tensor.numel() / samples : 0;
  }
};

inline bool same_layout(const Tensor& a, const Tensor& b) {
  if (a.is_contiguous() && b.is_contiguous()) return true;
  const auto sizes = a.sizes(), left = a.strides(), right = b.strides();
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] > 1 && left[i] != right[i]) return false;
  }
  return true;
}

inline Tensor copy_to(Tensor destination, const Tensor& source) {
  torch::stable::copy_(destination, source);
  return destination;
}

// Large results come from the system as pages that do not exist yet, and making one of 4 KiB costs more than writing
// it. Where the system makes large pages for those who ask (Linux's default), this asks.
inline void prefer_large_pages([[maybe_unused]] AtenTensorHandle tensor) {
#if defined(__linux__) && !defined(GANOPS_BACKEND_CUDA) && !defined(GANOPS_EMULATED)
  constexpr uintptr_t page = 2 << 20;
  int64_t bytes = 0;
  void* data = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_storage_size(tensor, &bytes));
  if (bytes < static_cast<int64_t>(2 * page)) return;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_data_ptr(tensor, &data));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) & ~(page - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) & ~(page - 1);
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a wish: failure is no error
#endif
}

// Uninitialised memory on the device of `like`. Straight through the C interface: a call of empty_like by name looks
// the operator up each time.
inline Tensor empty(const Tensor& like, int64_t dim, const int64_t* sizes, const int64_t* strides, int32_t dtype) {
  int32_t device_type;
  AtenTensorHandle result;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  if (aoti_torch_empty_strided(dim, sizes, strides, dtype, device_type, like.get_device_index(), &result) != 0) {
    int64_t bytes = static_cast<int64_t>(aoti_torch_dtype_element_size(dtype));
    for (int64_t i = 0; i < dim; ++i) bytes *= sizes[i];  // all tensors made here are dense
    note_refused_bytes(bytes);
    throw std::runtime_error("ganops: torch refused to allocate " + std::to_string(bytes) +
                             " bytes: out of memory, or an earlier error of the device");
  }
  prefer_large_pages(result);
  return Tensor(result);
}

inline int32_t raw_dtype(const Tensor& tensor) {
  int32_t dtype;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(tensor.get(), &dtype));
  return dtype;
}

// As the dense `like` in sizes, strides, dtype and device.
inline Tensor empty_as(const Tensor& like) {
  return empty(like, like.dim(), like.sizes().data(), like.strides().data(), raw_dtype(like));
}

inline Tensor empty_scalar(const Tensor& like) { return empty(like, 0, nullptr, nullptr, raw_dtype(like)); }

inline Tensor empty_vector(const Tensor& like, int64_t count, int32_t dtype) {
  const int64_t stride = 1;
  return empty(like, 1, &count, &stride, dtype);
}

inline Tensor as_contiguous(const Tensor& tensor) {
  if (tensor.is_contiguous()) return tensor;
  const auto sizes = tensor.sizes();
  std::vector<int64_t> strides(sizes.size(), 1);
  for (size_t i = sizes.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<int64_t>(sizes[i], 1);
  return copy_to(empty(tensor, tensor.dim(), sizes.data(), strides.data(), raw_dtype(tensor)), tensor);
}

// The tensor, or a contiguous copy where its elements do not fill one stretch of memory. What the operators return lies
// in memory as what these two functions return; ganops/ops/_layout.py says the same to fake tensors.
inline Tensor dense(const Tensor& tensor) { return is_dense(tensor) ? tensor : as_contiguous(tensor); }

inline Tensor dense_by_sample(const Tensor& tensor) {
  return is_dense_by_sample(tensor) ? tensor : as_contiguous(tensor);
}

// The dtype of norms, weights and per-sample sums.
inline int32_t accumulate_dtype(const Tensor& tensor) {
  const int32_t dtype = raw_dtype(tensor), wide = aoti_torch_dtype_float64();
  return dtype == wide ? wide : aoti_torch_dtype_float32();
}

// The same values in the layout of a dense `like`.
inline Tensor laid_out_as(const Tensor& tensor, const Tensor& like) {
  return same_layout(tensor, like) ? tensor : copy_to(empty_as(like), tensor);
}

inline void check_same(const Tensor& a, const Tensor& b, bool shape = true) {
  STD_TORCH_CHECK(a.scalar_type() == b.scalar_type() && a.get_device_index() == b.get_device_index(),
                  "ganops: tensors must have one dtype and one device");
  if (!shape) return;
  STD_TORCH_CHECK(a.dim() == b.dim() && std::equal(a.sizes().begin(), a.sizes().end(), b.sizes().begin()),
                  "ganops: tensors must have one shape");
}

// A tensor that one number fills (such as the gradient that a mean or an expand sends down) counts as that number.
inline bool is_one_number(const Tensor& tensor) {
  const auto sizes = tensor.sizes(), strides = tensor.strides();
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] != 1 && strides[i] != 0) return false;
  }
  return tensor.numel() > 0;
}

// Pointers handed to kernels pass through these, so that the emulated build knows what may be read and what is written.
inline const void* input(const Tensor& tensor, [[maybe_unused]] const char* name) {
  const void* data = tensor.const_data_ptr();
#ifdef GANOPS_EMULATED
  // A number that was expanded lies in memory once.
  ganops_emulation::register_input(data, (is_one_number(tensor) ? 1 : tensor.numel()) * tensor.element_size(), name);
#endif
  return data;
}

inline void* output(const Tensor& tensor, [[maybe_unused]] const char* name) {
  void* data = tensor.mutable_data_ptr();
#ifdef GANOPS_EMULATED
  ganops_emulation::register_output(data, tensor.numel() * tensor.element_size(), name);
#endif
  return data;
}

inline void* in_place(const Tensor& tensor, [[maybe_unused]] const char* name) {
  void* data = tensor.mutable_data_ptr();
#ifdef GANOPS_EMULATED
  ganops_emulation::register_inout(data, tensor.numel() * tensor.element_size(), name);
#endif
  return data;
}

// Scratch memory for the length of one call: on the CPU from the stack where little is needed, else from torch's
// allocator, which knows streams and graphs.
class Workspace {
 public:
  Workspace(const Tensor& like, int64_t bytes) {
    if (bytes == 0) return;
#ifndef GANOPS_BACKEND_CUDA
    if (bytes <= static_cast<int64_t>(sizeof(small_))) {
      data_ = small_;
      return;
    }
#endif
    owner_ = std::make_unique<Tensor>(empty_vector(like, (bytes + 7) / 8, aoti_torch_dtype_float64()));
    data_ = owner_->mutable_data_ptr();
#ifdef GANOPS_EMULATED
    ganops_emulation::register_scratch(data_, bytes, "workspace");
#endif
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void* data() const { return data_; }

 private:
  double small_[64];
  std::unique_ptr<Tensor> owner_;
  void* data_ = nullptr;
};

}  // namespace ganops
