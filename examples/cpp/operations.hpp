// The operations of the example, in float throughout: what they are asked is in a case of a pack.
//
// Each can be made wrong by one bug, as implementations are wrong in the wild, to show that the
// judge names it and no other.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <map>
#include <string>
#include <vector>

#include "pack.hpp"

namespace operations {

using pack::Case;
using pack::Tensor;
using Outputs = std::map<std::string, Tensor>;

struct Options {
  std::string bug;                     // one of the words in this file, or none
  std::string algorithm = "standard";  // of sums in group_norm
};

constexpr double PI = 3.14159265358979323846;

// y = x weight^T + bias; weight is [out, in].
inline Outputs linear(const Case &c, const Options &options) {
  const Tensor x = c.load("in/x"), weight = c.load("param/weight");
  const bool biased = c.has("param/bias") && options.bug != "bias";
  const Tensor bias = biased ? c.load("param/bias") : Tensor({weight.size(0)});
  auto shape = x.shape;
  const auto in = weight.size(1), out = shape.back() = weight.size(0);
  Tensor y(shape);
  const auto rows = static_cast<std::int64_t>(y.data.size()) / out;
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t o = 0; o < out; ++o) {
      float sum = 0;
      for (std::int64_t i = 0; i < in; ++i) sum += x.data[row * in + i] * weight.data[o * in + i];
      y.data[row * out + o] = sum + bias.data[o];
    }
  return {{"y", y}};
}

// Cross-correlation of NCL with OIL.
inline Outputs conv1d(const Case &c, const Options &options) {
  const Tensor x = c.load("in/x"), weight = c.load("param/weight");
  const auto outputs = weight.size(0), inputs = weight.size(1), taps = weight.size(2);
  const Tensor bias = c.has("param/bias") ? c.load("param/bias") : Tensor({outputs});
  const auto stride = c.integer("stride"), dilation = c.integer("dilation");
  const auto groups = c.integer("groups"), padding = c.integer("padding");
  const auto length = x.size(2), channels = x.size(1);
  Tensor y({x.size(0), outputs, (length + 2 * padding - dilation * (taps - 1) - 1) / stride + 1});
  // The bug: the right number of outputs, but all of the padding at the end.
  const auto left = options.bug == "padding" ? 0 : padding;
  for (std::int64_t n = 0; n < y.size(0); ++n)
    for (std::int64_t o = 0; o < outputs; ++o)
      for (std::int64_t t = 0; t < y.size(2); ++t) {
        float sum = bias.data[o];
        const auto first = o / (outputs / groups) * inputs;  // channel of the group
        for (std::int64_t i = 0; i < inputs; ++i)
          for (std::int64_t k = 0; k < taps; ++k) {
            const auto place = t * stride - left + k * dilation;
            if (place >= 0 && place < length)
              sum += weight.data[(o * inputs + i) * taps + k] *
                     x.data[(n * channels + first + i) * length + place];
          }
        y.data[(n * outputs + o) * y.size(2) + t] = sum;
      }
  return {{"y", y}};
}

// x / 2 (1 + erf(x / sqrt 2)). erfc keeps the digits of the left tail.
inline float gelu_exact(float x) { return 0.5f * x * std::erfc(-x * 0.70710678f); }
inline float gelu_by_tanh(float x, float cubic) {
  return 0.5f * x * (1.0f + std::tanh(0.79788456f * (x + cubic * x * x * x)));
}

inline Outputs gelu(const Case &c, const Options &options) {
  Tensor y = c.load("in/x");
  for (auto &x : y.data) x = options.bug == "tanh" ? gelu_by_tanh(x, 0.044715f) : gelu_exact(x);
  return {{"y", y}};
}

inline Outputs gelu_tanh(const Case &c, const Options &options) {
  Tensor y = c.load("in/x");
  const float cubic = options.bug == "coefficient" ? 0.0447f : 0.044715f;
  for (auto &x : y.data) x = gelu_by_tanh(x, cubic);
  return {{"y", y}};
}

struct Statistics {
  float mean, variance;
};

template <typename Term>
float running_sum(std::int64_t n, Term term) {
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += term(i);
  return sum;
}

// Kahan's sum. It must not be compiled with -ffast-math, which proves `lost` to be 0.
template <typename Term>
float compensated_sum(std::int64_t n, Term term) {
  float sum = 0, lost = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const float corrected = term(i) - lost, longer = sum + corrected;
    lost = (longer - sum) - corrected;
    sum = longer;
  }
  return sum;
}

inline Statistics statistics(const float *x, std::int64_t n, const std::string &algorithm) {
  const auto size = static_cast<float>(n);
  if (algorithm == "welford") {
    float mean = 0, squares = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const float difference = x[i] - mean;
      mean += difference / static_cast<float>(i + 1);
      squares += difference * (x[i] - mean);
    }
    return {mean, squares / size};
  }
  const bool kahan = algorithm == "kahan";
  const auto value = [x](std::int64_t i) { return x[i]; };
  const float mean = (kahan ? compensated_sum(n, value) : running_sum(n, value)) / size;
  const auto square = [x, mean](std::int64_t i) { return (x[i] - mean) * (x[i] - mean); };
  return {mean, (kahan ? compensated_sum(n, square) : running_sum(n, square)) / size};
}

// (x - mean) / sqrt(variance + eps) weight + bias over the channels of a group and all positions.
inline Outputs group_norm(const Case &c, const Options &options) {
  Tensor y = c.load("in/x");
  const Tensor weight = c.load("param/weight"), bias = c.load("param/bias");
  const auto groups = c.integer("groups"), channels = y.size(1);
  const float eps = c.number("eps");
  const auto positions = static_cast<std::int64_t>(y.data.size()) / (y.size(0) * channels);
  const auto width = channels / groups, n = width * positions;
  for (std::int64_t group = 0; group < y.size(0) * groups; ++group) {
    float *x = y.data.data() + group * n;
    const Statistics found = statistics(x, n, options.algorithm);
    const float scale = options.bug == "epsilon"  // outside the root
                            ? 1.0f / (std::sqrt(found.variance) + eps)
                            : 1.0f / std::sqrt(found.variance + eps);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto channel = group % groups * width + i / positions;
      x[i] = (x[i] - found.mean) * scale * weight.data[channel] + bias.data[channel];
    }
  }
  return {{"y", y}};
}

inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

// One direction of an LSTM; y gets its hidden states from `column` on.
inline void lstm_direction(const Case &c, const Options &options, const Tensor &x,
                           const std::string &suffix, bool backwards, std::int64_t column,
                           Outputs &outputs) {
  const Tensor wi = c.load("param/weight_ih" + suffix), wh = c.load("param/weight_hh" + suffix);
  const bool summed = c.text("biases") == "summed";
  Tensor bias = c.load((summed ? "param/bias" : "param/bias_ih") + suffix);
  if (!summed) {
    const Tensor second = c.load("param/bias_hh" + suffix);
    for (std::size_t i = 0; i < bias.data.size(); ++i) bias.data[i] += second.data[i];
  }
  const auto steps = x.size(0), batch = x.size(1), in = x.size(2), hidden = wh.size(1);
  // The bug: PyTorch's order of gates, whatever the pack says. Right for most of its cases.
  const std::string said = options.bug == "gates" ? "i,f,g,o" : c.text("gate_order");
  std::map<std::string, std::int64_t> gate;
  for (const auto &name : pack::split(said, ',')) gate.insert({name, gate.size()});
  Tensor &y = outputs.at("y");
  const auto width = y.size(2), row = column / hidden * batch * hidden;
  std::vector<float> sums(4 * hidden);
  for (std::int64_t b = 0; b < batch; ++b) {
    float *h = outputs.at("h").data.data() + row + b * hidden;
    float *cell = outputs.at("c").data.data() + row + b * hidden;
    for (std::int64_t step = 0; step < steps; ++step) {
      const auto t = backwards ? steps - 1 - step : step;
      for (std::int64_t r = 0; r < 4 * hidden; ++r) {
        float sum = bias.data[r];
        for (std::int64_t i = 0; i < in; ++i)
          sum += wi.data[r * in + i] * x.data[(t * batch + b) * in + i];
        for (std::int64_t j = 0; j < hidden; ++j) sum += wh.data[r * hidden + j] * h[j];
        sums[r] = sum;
      }
      for (std::int64_t j = 0; j < hidden; ++j) {
        const auto at = [&](const char *name) { return sums[gate.at(name) * hidden + j]; };
        cell[j] = sigmoid(at("f")) * cell[j] + sigmoid(at("i")) * std::tanh(at("g"));
        h[j] = sigmoid(at("o")) * std::tanh(cell[j]);
        y.data[(t * batch + b) * width + column + j] = h[j];
      }
    }
  }
}

inline Outputs lstm(const Case &c, const Options &options) {
  const Tensor x = c.load("in/x");
  const std::string direction = c.text("direction");
  Outputs outputs{{"h", c.load("in/h0")}, {"c", c.load("in/c0")}};  // updated in place
  const auto directions = outputs.at("h").size(0), hidden = outputs.at("h").size(2);
  outputs["y"] = Tensor({x.size(0), x.size(1), directions * hidden});
  lstm_direction(c, options, x, "", direction == "reverse", 0, outputs);
  if (direction == "both") lstm_direction(c, options, x, "_reverse", true, hidden, outputs);
  return outputs;
}

using Complex = std::complex<float>;

// Radix 2 as far as it goes, the definition for what is left.
inline std::vector<Complex> fourier(const std::vector<Complex> &x) {
  const std::size_t n = x.size();
  const auto turn = [n](std::size_t k) {  // in double: a float angle of 4096 turns is 1e-4 off
    const double angle = -2.0 * PI * static_cast<double>(k % n) / static_cast<double>(n);
    return Complex(static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle)));
  };
  std::vector<Complex> y(n);
  if (n % 2 != 0 || n == 1) {
    for (std::size_t k = 0; k < n; ++k)
      for (std::size_t t = 0; t < n; ++t) y[k] += x[t] * turn(k * t);
    return y;
  }
  std::vector<Complex> even(n / 2), odd(n / 2);
  for (std::size_t i = 0; i < n / 2; ++i) even[i] = x[2 * i], odd[i] = x[2 * i + 1];
  even = fourier(even), odd = fourier(odd);
  for (std::size_t k = 0; k < n / 2; ++k) {
    const Complex moved = odd[k] * turn(k);
    y[k] = even[k] + moved, y[k + n / 2] = even[k] - moved;
  }
  return y;
}

// Periodic Hann window, reflected edges, [channel, bin, frame, 2].
inline Outputs stft(const Case &c, const Options &options) {
  const Tensor x = c.load("in/x");
  const auto n_fft = c.integer("n_fft"), hop = c.integer("hop");
  const float scale = c.number("scale");
  const auto samples = x.size(1), frames = 1 + samples / hop, bins = n_fft / 2 + 1;
  const auto period = static_cast<double>(options.bug == "window" ? n_fft - 1 : n_fft);
  Tensor y({x.size(0), bins, frames, 2});
  std::vector<Complex> block(n_fft);
  for (std::int64_t channel = 0; channel < x.size(0); ++channel)
    for (std::int64_t frame = 0; frame < frames; ++frame) {
      for (std::int64_t t = 0; t < n_fft; ++t) {
        auto place = std::abs(frame * hop + t - n_fft / 2);
        if (place >= samples) place = 2 * (samples - 1) - place;
        const double window = 0.5 - 0.5 * std::cos(2.0 * PI * static_cast<double>(t) / period);
        block[t] = x.data[channel * samples + place] * static_cast<float>(window);
      }
      const auto spectrum = fourier(block);
      for (std::int64_t k = 0; k < bins; ++k) {
        float *pair = y.data.data() + ((channel * bins + k) * frames + frame) * 2;
        pair[0] = spectrum[k].real() * scale, pair[1] = spectrum[k].imag() * scale;
      }
    }
  return {{"y", y}};
}

using Function = Outputs (*)(const Case &, const Options &);

inline const std::map<std::string, Function> &known() {
  static const std::map<std::string, Function> table{
      {"conv1d", conv1d},         {"gelu", gelu},     {"gelu_tanh", gelu_tanh},
      {"group_norm", group_norm}, {"linear", linear}, {"lstm", lstm},
      {"stft", stft},
  };
  return table;
}

}  // namespace operations
