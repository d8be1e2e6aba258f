// Weight clipping as a torch operator; the schema is in schemas.cpp.
#include "../kernels/clip_weights.h"

#include "tensors.h"

GANOPS_DECLARE_KERNELS(ClipWeightsKernels, clip_weights)

namespace ganops {
namespace {

struct Stretch {
  char *begin, *end;
};

// Returns false, and writes nothing, unless the tensors share dtype and device and are dense.
bool try_clip_weights_(const std::vector<Tensor>& tensors, double low, double high) {
  if (tensors.empty()) return true;
  const int32_t dtype = raw_dtype(tensors[0]), device = tensors[0].get_device_index();
  const DType type = dtype_of(tensors[0]);
  const Target target("clip_weights_", device);
  const int64_t size = tensors[0].element_size();
  std::vector<Stretch> stretches;
  stretches.reserve(tensors.size());
  for (const Tensor& tensor : tensors) {
    if (raw_dtype(tensor) != dtype || tensor.get_device_index() != device || !is_dense(tensor)) return false;
    const int64_t bytes = tensor.numel() * size;
    if (bytes == 0) continue;
    char* begin = static_cast<char*>(in_place(tensor, "weights"));
    stretches.push_back({begin, begin + bytes});
  }
  // A list may hold one weight twice (tied layers, views). Threads must not meet there.
  std::sort(stretches.begin(), stretches.end(), [](const Stretch& a, const Stretch& b) { return a.begin < b.begin; });
  std::vector<void*> data;
  std::vector<int64_t> count;
  data.reserve(stretches.size());
  count.reserve(stretches.size());
  char* end = nullptr;
  for (const Stretch& stretch : stretches) {
    if (stretch.begin < end) {
      end = std::max(end, stretch.end);
      count.back() = (end - static_cast<char*>(data.back())) / size;
    } else {
      end = stretch.end;
      data.push_back(stretch.begin);
      count.push_back((stretch.end - stretch.begin) / size);
    }
  }
  GANOPS_KERNELS(clip_weights).clip(target.stream(), type, data.data(), count.data(), data.size(), low, high);
  return true;
}

void clip_weights_(const std::vector<Tensor>& tensors, double low, double high) {
  STD_TORCH_CHECK(try_clip_weights_(tensors, low, high),
                  "ganops: weights to clip must be dense and have one dtype and one device");
}

// For a list with a tensor whose elements are not in memory as they are to be read: sparse ones, and negated views.
[[maybe_unused]] bool refuse(const std::vector<Tensor>&, double, double) { return false; }

}  // namespace

GANOPS_REGISTER(m) {
  m.impl("clip_weights_", TORCH_BOX(&clip_weights_));
  m.impl("try_clip_weights_", TORCH_BOX(&try_clip_weights_));
}

#if !defined(GANOPS_BACKEND_CUDA) || defined(GANOPS_EMULATED)
STABLE_TORCH_LIBRARY_IMPL(ganops, CompositeExplicitAutograd, m) { m.impl("try_clip_weights_", TORCH_BOX(&refuse)); }
STABLE_TORCH_LIBRARY_IMPL(ganops, Negative, m) { m.impl("try_clip_weights_", TORCH_BOX(&refuse)); }
#endif

}  // namespace ganops
