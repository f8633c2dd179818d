// Gradients of the sum of y times cotangent, as a backward pass written by hand gives them.
//
// The cotangent is stored with the case and random: against ones, the terms that GroupNorm's
// gradient subtracts would cancel, and forgetting them would pass.
#pragma once

#include "operations.hpp"

namespace gradients {

using operations::Options;
using operations::Outputs;
using pack::Case;
using pack::Tensor;

inline Outputs linear(const Case &c, const Options &options) {
  const Tensor x = c.load("in/x"), weight = c.load("param/weight"), dy = c.load("cotangent/y");
  const auto out = weight.size(0), in = weight.size(1);
  Tensor dx(x.shape), dw(weight.shape), db({out});
  const auto rows = static_cast<std::int64_t>(dy.data.size()) / out;
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t o = 0; o < out; ++o) {
      const float g = dy.data[row * out + o];
      // The bug: the last row overwrites the others.
      db.data[o] = options.bug == "last-row" ? g : db.data[o] + g;
      for (std::int64_t i = 0; i < in; ++i) {
        dx.data[row * in + i] += g * weight.data[o * in + i];
        dw.data[o * in + i] += g * x.data[row * in + i];
      }
    }
  Outputs found{{"in/x", dx}, {"param/weight", dw}};
  if (c.has("param/bias")) found.emplace("param/bias", db);
  return found;
}

inline Outputs conv1d(const Case &c, const Options &options) {
  const Tensor x = c.load("in/x"), weight = c.load("param/weight"), dy = c.load("cotangent/y");
  const auto outputs = weight.size(0), inputs = weight.size(1), taps = weight.size(2);
  const auto stride = c.integer("stride"), dilation = c.integer("dilation");
  const auto groups = c.integer("groups"), padding = c.integer("padding");
  const auto length = x.size(2), channels = x.size(1);
  Tensor dx(x.shape), dw(weight.shape), db({outputs});
  for (std::int64_t n = 0; n < dy.size(0); ++n)
    for (std::int64_t o = 0; o < outputs; ++o)
      for (std::int64_t t = 0; t < dy.size(2); ++t) {
        const float g = dy.data[(n * outputs + o) * dy.size(2) + t];
        const auto first = o / (outputs / groups) * inputs;
        db.data[o] += g;
        for (std::int64_t i = 0; i < inputs; ++i)
          for (std::int64_t k = 0; k < taps; ++k) {
            const auto place = t * stride - padding + k * dilation;
            if (place < 0 || place >= length) continue;
            // The bug: a convolution where a correlation is, the kernel not turned round.
            const auto tap = options.bug == "flip" ? taps - 1 - k : k;
            const auto at = (n * channels + first + i) * length + place;
            dx.data[at] += g * weight.data[(o * inputs + i) * taps + tap];
            dw.data[(o * inputs + i) * taps + k] += g * x.data[at];
          }
      }
  Outputs found{{"in/x", dx}, {"param/weight", dw}};
  if (c.has("param/bias")) found.emplace("param/bias", db);
  return found;
}

// tanh's own derivative vanishes where its argument overflows; the product would be NaN.
inline float gelu_tanh_slope(float x, float cubic) {
  const float t = std::tanh(0.79788456f * (x + cubic * x * x * x)), falling = 1.0f - t * t;
  const float inner = falling == 0 ? 0 : falling * 0.79788456f * (1.0f + 3.0f * cubic * x * x);
  return 0.5f * (1.0f + t) + 0.5f * x * inner;
}

inline float gelu_slope(float x) {
  return 0.5f * std::erfc(-x * 0.70710678f) + x * 0.39894228f * std::exp(-0.5f * x * x);
}

inline Outputs gelu(const Case &c, const Options &options) {
  Tensor dx = c.load("in/x");
  const Tensor dy = c.load("cotangent/y");
  for (std::size_t i = 0; i < dx.data.size(); ++i) {
    // The bug: the exact function forward, the approximation backward.
    const float x = dx.data[i];
    const bool wrong = options.bug == "slope";
    dx.data[i] = dy.data[i] * (wrong ? gelu_tanh_slope(x, 0.044715f) : gelu_slope(x));
  }
  return {{"in/x", dx}};
}

inline Outputs gelu_tanh(const Case &c, const Options &options) {
  Tensor dx = c.load("in/x");
  const Tensor dy = c.load("cotangent/y");
  const float cubic = options.bug == "cubic" ? 0.044f : 0.044715f;
  for (std::size_t i = 0; i < dx.data.size(); ++i)
    dx.data[i] = dy.data[i] * gelu_tanh_slope(dx.data[i], cubic);
  return {{"in/x", dx}};
}

// With z the normalised x and g = dy weight: dx = (g - mean(g) - z mean(g z)) / deviation.
inline Outputs group_norm(const Case &c, const Options &options) {
  Tensor dx = c.load("in/x");
  const Tensor weight = c.load("param/weight"), dy = c.load("cotangent/y");
  const auto groups = c.integer("groups"), channels = dx.size(1);
  const float eps = c.number("eps");
  const auto positions = static_cast<std::int64_t>(dx.data.size()) / (dx.size(0) * channels);
  const auto width = channels / groups, n = width * positions;
  Tensor dw({channels}), db({channels});
  for (std::int64_t group = 0; group < dx.size(0) * groups; ++group) {
    float *x = dx.data.data() + group * n;
    const float *g = dy.data.data() + group * n;
    const auto found = operations::statistics(x, n, options.algorithm);
    const float scale = 1.0f / std::sqrt(found.variance + eps);
    const auto channel = [&](std::int64_t i) { return group % groups * width + i / positions; };
    double sum = 0, product = 0;  // two sums of signed terms, which cancel
    for (std::int64_t i = 0; i < n; ++i) {
      x[i] = (x[i] - found.mean) * scale;
      dw.data[channel(i)] += g[i] * x[i];
      db.data[channel(i)] += g[i];
      sum += g[i] * weight.data[channel(i)];
      product += static_cast<double>(g[i] * weight.data[channel(i)]) * x[i];
    }
    // The bug: the mean depends on x, too.
    const auto mean = options.bug == "mean-term" ? 0.0f : static_cast<float>(sum / n);
    const auto slope = static_cast<float>(product / n);
    for (std::int64_t i = 0; i < n; ++i)
      x[i] = (g[i] * weight.data[channel(i)] - mean - x[i] * slope) * scale;
  }
  return {{"in/x", dx}, {"param/bias", db}, {"param/weight", dw}};
}

inline const std::map<std::string, operations::Function> &known() {
  static const std::map<std::string, operations::Function> table{
      {"conv1d", conv1d},         {"gelu", gelu},     {"gelu_tanh", gelu_tanh},
      {"group_norm", group_norm}, {"linear", linear},
  };
  return table;
}

}  // namespace gradients
