// Reads a golden pack: manifest.tsv and the file of tensors that is given. C++17, no dependencies.
//
// The manifest says where in its file each tensor begins, so nothing else is parsed. A big-endian
// machine would have to swap bytes; this reader refuses to run there.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace pack {

using Shape = std::vector<std::int64_t>;

inline std::int64_t count(const Shape &shape) {
  std::int64_t product = 1;
  for (auto size : shape) product *= size;
  return product;
}

struct Tensor {
  Shape shape;
  std::vector<float> data;

  explicit Tensor(Shape shape_ = {}) : shape(std::move(shape_)), data(count(shape)) {}
  std::int64_t size(int axis) const { return shape.at(axis < 0 ? shape.size() + axis : axis); }
};

struct Place {  // where a tensor lies
  std::string dtype;
  Shape shape;
  std::string file;
  std::uint64_t offset = 0, bytes = 0;
};

inline std::vector<std::string> split(const std::string &text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

struct Case {
  std::string name, operation, folder;
  std::map<std::string, std::string> attributes;
  std::map<std::string, Place> tensors;

  const std::string &text(const std::string &key) const { return attributes.at(key); }
  long integer(const std::string &key) const { return std::stol(attributes.at(key)); }
  float number(const std::string &key) const { return std::stof(attributes.at(key)); }
  bool has(const std::string &tensor) const { return tensors.count(tensor) != 0; }

  Tensor load(const std::string &tensor) const {
    const Place &place = tensors.at(tensor);
    if (place.dtype != "float32") throw std::runtime_error(name + ": no float32: " + tensor);
    Tensor result(place.shape);
    if (result.data.size() * sizeof(float) != place.bytes)
      throw std::runtime_error(name + ": shape and length disagree: " + tensor);
    std::ifstream file(folder + "/" + place.file + ".safetensors", std::ios::binary);
    file.seekg(static_cast<std::streamoff>(place.offset));
    file.read(reinterpret_cast<char *>(result.data.data()), static_cast<std::streamsize>(place.bytes));
    if (!file) throw std::runtime_error(name + ": the file is truncated: " + tensor);
    return result;
  }
};

inline std::vector<Case> read(const std::string &folder) {
  const std::uint16_t probe = 1;
  if (*reinterpret_cast<const unsigned char *>(&probe) != 1)
    throw std::runtime_error("this reader is for little-endian machines");
  std::ifstream file(folder + "/manifest.tsv");
  if (!file) throw std::runtime_error("no manifest.tsv in " + folder);
  std::vector<Case> cases;
  std::map<std::string, std::size_t> index;
  std::size_t required = 0;
  bool known = false;
  for (std::string line; std::getline(file, line);) {
    const auto field = split(line, '\t');
    if (field.at(0) == "pack") {
      known = field.at(1) == "parity-pack" && field.at(2) == "1" && field.at(4) == "little";
    } else if (field[0] == "required") {
      required = std::stoul(field.at(1));
    } else if (field[0] == "case") {
      index[field.at(1)] = cases.size();
      cases.push_back({field[1], field.at(2), folder, {}, {}});
    } else if (field[0] == "attribute") {
      cases[index.at(field.at(1))].attributes[field.at(2)] = field.size() > 3 ? field[3] : "";
    } else if (field[0] == "tensor") {
      Place place{field.at(3), {}, field.at(6), std::stoull(field.at(7)), std::stoull(field.at(8))};
      if (field.at(4) != "-")
        for (const auto &size : split(field[4], ',')) place.shape.push_back(std::stoll(size));
      cases[index.at(field.at(1))].tensors[field.at(2)] = place;
    }
  }
  if (!known) throw std::runtime_error("no pack of version 1: " + folder);
  if (cases.size() != required) throw std::runtime_error("the manifest is truncated: " + folder);
  return cases;
}

// Writes CASE/out/y.npy below a folder that is there. Its format: a magic, a header in text that
// is padded to 64 bytes, and the numbers.
inline void write_npy(const std::string &path, const Tensor &tensor) {
  std::string shape;
  for (auto size : tensor.shape) shape += std::to_string(size) + ",";
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.append(63 - (10 + header.size()) % 64, ' ').push_back('\n');
  const auto length = static_cast<std::uint16_t>(header.size());
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8);
  file.write(reinterpret_cast<const char *>(&length), 2);
  file << header;
  file.write(reinterpret_cast<const char *>(tensor.data.data()),
             static_cast<std::streamsize>(tensor.data.size() * sizeof(float)));
  if (!file) throw std::runtime_error("can't write " + path);
}

}  // namespace pack
