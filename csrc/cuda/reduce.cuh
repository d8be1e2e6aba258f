// Sums in a fixed order: over a warp, over a block, and over the blocks of a grid. Same grid, same bits.
#pragma once

#include "launch.cuh"

namespace ganops::cuda {

// Over each `lanes` neighbours, a power of two, in the first of them.
template <class A>
__device__ __forceinline__ A warp_sum(A value, int lanes = warp_size) {
#pragma unroll
  for (int distance = warp_size / 2; distance > 0; distance /= 2) {
    if (distance < lanes) value += __shfl_down_sync(0xffffffffu, value, distance, lanes);
  }
  return value;
}

// The block's sum, in thread 0. Every thread of a block, which has at most `block_size`, must call it.
template <class A>
__device__ __forceinline__ A block_sum(A value) {
  __shared__ A partial[block_size / warp_size];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  value = warp_sum(value);
  __syncthreads();  // an earlier sum may still be read
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  A sum = 0;
  if (threadIdx.x == 0) {
#pragma unroll
    for (int w = 0; w < block_size / warp_size; ++w) {
      if (w < static_cast<int>(blockDim.x) / warp_size) sum += partial[w];
    }
  }
  return sum;
}

// Counts the blocks that are done; true, in every thread, of the last one, which may then read what the others wrote.
// The count starts at 0 and ends there. One thread's fences serve the block: the barriers order the others by it.
__device__ __forceinline__ bool last_block(unsigned* finished) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicInc(finished, gridDim.x - 1) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  return last;
}

}  // namespace ganops::cuda
