// Contract of differentiable augmentation: colour, translation and cutout of each image, in this order, each if asked
// for. Parameters are (samples, 7) in the accumulation type; what they mean is in ../math/diff_augment.h.
#pragma once

#include "common.h"

namespace ganops {

// Dense images, channel by channel or pixel by pixel.
struct Images {
  int64_t samples, channels, height, width;
  bool channels_last;

  int64_t pixels() const { return height * width; }
  int64_t size() const { return channels * pixels(); }
  // An image read as rows of memory: row r holds the image's row r % height.
  int64_t rows() const { return channels_last ? height : channels * height; }
  int64_t row() const { return channels_last ? width * channels : width; }
  int64_t step() const { return channels_last ? channels : 1; }  // elements of a row from a pixel to the next
};

enum class Form : int { value, linear, adjoint, count };

struct Augmentation {
  bool colour, translation, cutout;
  Form form;
};

struct DiffAugmentKernels {
  // Bytes of scratch memory that `apply` needs.
  int64_t (*workspace)(const Images&, Augmentation);

  // out = the form of the augmentation, applied to the images `in`.
  void (*apply)(Stream, DType, Augmentation, const Images&, const void* in, const void* parameters, void* out,
                void* workspace);
};

}  // namespace ganops
