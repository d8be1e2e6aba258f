// What every kernel contract uses. A contract (csrc/kernels/<stem>.h) is a table of functions over raw pointers that
// csrc/cpu/<stem>.cpp and csrc/cuda/<stem>.cu both fill; csrc/torch/<stem>.cpp calls it and knows not which one it has.
//
// Pointers are to dense memory, aligned to their element. Tensors that an op reads or writes together share one layout,
// so that element i of one belongs to element i of the other. Nothing is allocated, nothing waits.
#pragma once

#include <cstdint>

namespace ganops {

enum class DType : int { float32, float64, float16, bfloat16 };

// cudaStream_t; null on the CPU.
using Stream = void*;

// How the values of samples or elements become the result. In the order of ganops/_common/reduction.py.
enum class Reduction : int { mean, sum, none };

// The same for the values of a list of tensors.
enum class ScaleReduction : int { sum, mean, none };

}  // namespace ganops
