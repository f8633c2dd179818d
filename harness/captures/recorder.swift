// Runs a package on each compute unit of this Mac and records what comes out.
//
//     swift recorder.swift            in the folder that `parity kit` or `parity capture` wrote
//
// For each compute unit one file, capture-UNIT.safetensors: the outputs by name, and as metadata the
// digest of the inputs, the unit, the device, the system and versions. It does what recorder.py
// does, without Python.
import CoreML
import CryptoKit
import Foundation

struct Tensor {
    let type: String  // F16, F32 or I32
    let shape: [Int]
    let data: Data
}

let names = ["F16": "float16", "F32": "float32", "I32": "int32"]
let kinds: [String: MLMultiArrayDataType] = ["F16": .float16, "F32": .float32, "I32": .int32]

func readTensors(_ url: URL) throws -> [String: Tensor] {
    let content = try Data(contentsOf: url)
    let length = content.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    let text = content.subdata(in: 8..<(8 + length))
    let header = try JSONSerialization.jsonObject(with: text) as! [String: Any]
    var found: [String: Tensor] = [:]
    for (name, value) in header where name != "__metadata__" {
        let entry = value as! [String: Any]
        let span = entry["data_offsets"] as! [Int]
        let data = content.subdata(in: (8 + length + span[0])..<(8 + length + span[1]))
        found[name] = Tensor(
            type: entry["dtype"] as! String, shape: entry["shape"] as! [Int], data: data)
    }
    return found
}

func writeTensors(_ url: URL, _ tensors: [String: Tensor], _ metadata: [String: String]) throws {
    var header: [String: Any] = ["__metadata__": metadata]
    var body = Data()
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
        let span = [body.count, body.count + tensor.data.count]
        header[name] = ["dtype": tensor.type, "shape": tensor.shape, "data_offsets": span] as [String: Any]
        body.append(tensor.data)
    }
    var text = try JSONSerialization.data(withJSONObject: header)
    while text.count % 8 != 0 { text.append(0x20) }
    var length = UInt64(text.count).littleEndian
    var file = Data(bytes: &length, count: 8)
    file.append(text)
    file.append(body)
    try file.write(to: url, options: .atomic)
}

func digest(_ tensors: [String: Tensor]) -> String {
    var hash = SHA256()
    for name in tensors.keys.sorted(by: { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }) {
        let tensor = tensors[name]!
        let shape = tensor.shape.map(String.init).joined(separator: ", ")
        hash.update(data: Data("\(name) \(names[tensor.type]!) [\(shape)]\n".utf8))
        hash.update(data: tensor.data)
    }
    return hash.finalize().map { String(format: "%02x", $0) }.joined()
}

func array(_ tensor: Tensor) throws -> MLMultiArray {
    let made = try MLMultiArray(
        shape: tensor.shape.map { NSNumber(value: $0) }, dataType: kinds[tensor.type]!)
    made.withUnsafeMutableBytes { target, _ in
        tensor.data.withUnsafeBytes { target.copyMemory(from: $0) }
    }
    return made
}

// Outputs may be stored with gaps between rows; shaped arrays give them in order.
func tensor(_ array: MLMultiArray) -> Tensor {
    let shape = array.shape.map(\.intValue)
    func packed<T>(_ scalars: [T]) -> Data { scalars.withUnsafeBytes { Data($0) } }
    switch array.dataType {
    case .float16: return Tensor(type: "F16", shape: shape, data: packed(MLShapedArray<Float16>(array).scalars))
    case .int32: return Tensor(type: "I32", shape: shape, data: packed(MLShapedArray<Int32>(array).scalars))
    default: return Tensor(type: "F32", shape: shape, data: packed(MLShapedArray<Float>(array).scalars))
    }
}

func machine() -> String {
    var size = 0
    sysctlbyname("hw.model", nil, &size, nil, 0)
    var text = [CChar](repeating: 0, count: size)
    sysctlbyname("hw.model", &text, &size, nil, 0)
    return String(cString: text)
}

let folder = URL(fileURLWithPath: CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : ".")
let entries = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
guard let package = entries.first(where: { $0.pathExtension == "mlpackage" }) else {
    fatalError("there is no package in \(folder.path)")
}
let inputs = try readTensors(folder.appendingPathComponent("inputs.safetensors"))
let features = try MLDictionaryFeatureProvider(
    dictionary: inputs.mapValues { MLFeatureValue(multiArray: try array($0)) })
let compiled = try MLModel.compileModel(at: package)
let units: [(String, MLComputeUnits)] = [
    ("CPU_ONLY", .cpuOnly), ("CPU_AND_GPU", .cpuAndGPU), ("CPU_AND_NE", .cpuAndNeuralEngine), ("ALL", .all),
]
for (name, unit) in units {
    let configuration = MLModelConfiguration()
    configuration.computeUnits = unit
    let model = try MLModel(contentsOf: compiled, configuration: configuration)
    let made = try model.prediction(from: features)
    var outputs: [String: Tensor] = [:]
    for feature in made.featureNames {
        if let value = made.featureValue(for: feature)?.multiArrayValue { outputs[feature] = tensor(value) }
    }
    let url = folder.appendingPathComponent("capture-\(name).safetensors")
    try writeTensors(
        url, outputs,
        [
            "format": "parity-capture-1", "inputs": digest(inputs), "compute_unit": name,
            "device": machine(), "system": "macOS \(ProcessInfo.processInfo.operatingSystemVersionString)",
            "versions": "Swift recorder 1",
        ])
    print(url.path)
}
