"""Published measurements of int8 networks on the boards, each with its source and conditions.

Only numbers that were measured and published stand here; everything else is derived from them when
it is asked for. Times are milliseconds for one picture through the network alone.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Source(msgspec.Struct, frozen=True):
    """Where figures come from."""

    title: str
    date: str
    conditions: str
    place: str


class Setting(NamedTuple):
    """A machine and its software, on which several networks were timed."""

    name: str
    board: str
    """The board whose estimate is judged by it; "" where it only shapes the costs."""
    source: str
    times: dict[str, float]
    """Milliseconds by network."""


class Ratio(NamedTuple):
    """How much longer the same networks take in one way than in another, by the same program."""

    source: str
    pairs: dict[str, tuple[float, float]]
    """Milliseconds in the slower and the faster way, by network."""


SOURCES = {
    "xnnpack": Source(
        "XNNPACK, README.md, section Performance, Raspberry Pi",
        "2022-02-08",
        "INT8 per channel, all four cores; 32-bit Raspbian Buster, for Pi 4 also ARM64",
        "github.com/google/XNNPACK",
    ),
    "mlperf": Source(
        "MLPerf Inference v1.0, open division, Krai, rpi4coral-fan.on-tflite-v2.4.1-ruy",
        "2021-03",
        "Raspberry Pi 4 at 1.5 GHz with fan, Ubuntu 20.04 64-bit, TFLite 2.4.1 without XNNPACK, "
        "single stream, 50th percentile; threads not stated, MobileNetV1 1.0 224 agrees with four",
        "github.com/mlcommons/inference_results_v1.0",
    ),
    "arm": Source(
        "Arm, model cards *-int8-xnnpack-executorch; course ExecuTorch on Arm (MobileNetV2)",
        "not dated; Debian 13, so 2025 or later",
        "Raspberry Pi 5, 64-bit Raspberry Pi OS, ExecuTorch with XNNPACK, median; threads not "
        "stated, the rates are out of reach for one core; the course says only Raspberry Pi, but "
        "its time is a quarter of a Pi 4's",
        "huggingface.co/Arm, learn.arm.com",
    ),
    "tsukamoto-2021": Source(
        "N. Tsukamoto, benchmarks: TensorFlow 1 Detection Model Zoo, EfficientDet",
        "2021",
        "Raspberry Pi OS 64-bit, TFLite 2.5.0, INT8, one and four threads, mean of 350",
        "github.com/NobuoTsukamoto/benchmarks",
    ),
    "tsukamoto-2024": Source(
        "N. Tsukamoto, benchmarks: efficientdet_latency_v2.18.0.txt",
        "TFLite 2.18.0 (2024)",
        "benchmark_model with XNNPACK, INT8, one and four threads, mean of 50",
        "github.com/NobuoTsukamoto/benchmarks",
    ),
    "ncnn": Source(
        "ncnn, benchmark/README.md (Pi 3B+) and thread New RPi benchmarks (Pi Zero 2 W)",
        "2022-01 (Pi Zero 2 W)",
        "benchncnn, four threads, average of 8",
        "github.com/Tencent/ncnn",
    ),
    "coral": Source(
        "Coral, Edge TPU performance benchmarks and Models: Image classification",
        "not dated",
        "desktop CPU with the USB Accelerator on USB 3.0, C++, network only",
        "coral.ai/docs/edgetpu/benchmarks, coral.ai/models",
    ),
    "pycoral": Source(
        "PyCoral, benchmarks/reference/inference_reference_{x86_64,rp4b}.csv",
        "not dated; its program is of 2019",
        "mean of 200 calls of invoke; Xeon E5-1650 v3, and Raspberry Pi 4; USB 3.0",
        "github.com/google-coral/pycoral",
    ),
}

#: Setting on whose scale the CPU costs are given, and the one of the Edge TPU costs.
CPU_REFERENCE, TPU_REFERENCE = "Pi 4, XNNPACK, 64-bit", "Pi 4 + Coral"

CPU = (
    Setting(
        "Pi 3B+, XNNPACK, 32-bit",
        "pi-3b+",
        "xnnpack",
        {"MobileNetV1 1.0 224": 46, "MobileNetV2 1.0 224": 30},
    ),
    Setting(
        "Pi 4, XNNPACK, 32-bit",
        "pi-4",
        "xnnpack",
        {"MobileNetV1 1.0 224": 29, "MobileNetV2 1.0 224": 20},
    ),
    Setting(
        CPU_REFERENCE,
        "pi-4",
        "xnnpack",
        {"MobileNetV1 1.0 224": 24, "MobileNetV2 1.0 224": 17},
    ),
    Setting(
        "Pi 4, TFLite 2.4.1",
        "pi-4",
        "mlperf",
        {
            "MobileNetV1 0.25 128": 2.094,
            "MobileNetV1 0.5 160": 5.951,
            "MobileNetV1 1.0 128": 10.520,
            "MobileNetV1 1.0 224": 28.526,
            "MobileNetV2 0.35 96": 3.010,
            "MobileNetV2 0.35 160": 5.429,
            "MobileNetV2 0.35 224": 9.327,
            "MobileNetV2 0.5 128": 5.031,
            "MobileNetV2 0.5 224": 12.007,
            "MobileNetV2 0.75 160": 11.350,
            "MobileNetV2 1.0 96": 6.218,
            "MobileNetV2 1.0 128": 9.133,
            "MobileNetV2 1.0 224": 24.017,
            "EfficientNet-Lite0": 31.244,
        },
    ),
    Setting(
        "Pi 5, ExecuTorch with XNNPACK",
        "pi-5",
        "arm",
        {
            "MobileNetV2 1.0 224": 3.98,
            "ResNet-18": 8.751,
            "ResNet-50": 20.64,
            "SqueezeNet 1.1": 2.307,
        },
    ),
)

TPU = (
    Setting(
        "desktop + Coral, C++",
        "",
        "coral",
        {
            "MobileNetV1 0.25 128": 0.9,
            "MobileNetV1 1.0 224": 2.4,
            "MobileNetV2 1.0 224": 2.6,
            "SqueezeNet 1.1": 2.1,
            "Inception V1": 3.4,
            "Inception V4": 85,
            "VGG-16": 296,
            "VGG-19": 308,
        },
    ),
    Setting(
        "desktop + Coral, Python",
        "",
        "pycoral",
        {
            "MobileNetV1 1.0 224": 2.17,
            "MobileNetV2 1.0 224": 2.29,
            "Inception V1": 3.06,
            "Inception V4": 84.25,
        },
    ),
    Setting(
        TPU_REFERENCE,
        "pi-4-coral",
        "pycoral",
        {
            "MobileNetV1 1.0 224": 4.204,
            "MobileNetV2 1.0 224": 4.548,
            "Inception V1": 6.213,
            "Inception V4": 141.197,
        },
    ),
)

#: One thread against four.
THREADS = {
    "pi-3b+": Ratio(
        "tsukamoto-2021",
        {
            "SSDLite MobileNetV2": (341.93, 121.79),
            "SSDLite MobileDet": (571.67, 179.08),
            "SSDLite MobileNetEdgeTPU": (650.97, 207.27),
            "EfficientDet-Lite0": (624.07, 277.76),
            "EfficientDet-Lite1": (1131.02, 458.83),
        },
    ),
    "pi-4": Ratio(
        "tsukamoto-2024",
        {"EfficientDet-Lite0": (197.751, 78.009), "EfficientDet-Lite1": (372.260, 138.299)},
    ),
    "pi-5": Ratio(
        "tsukamoto-2024",
        {"EfficientDet-Lite0": (44.945, 22.877), "EfficientDet-Lite1": (81.633, 39.720)},
    ),
}

#: Pi Zero 2 W against Pi 3B+: the same cores at 1.0 instead of 1.4 GHz.
ZERO_2_W = Ratio(
    "ncnn",
    {
        "squeezenet_int8": (96.55, 78.19),
        "mobilenet_int8": (91.03, 67.27),
        "mobilenet": (163.19, 113.22),
        "mobilenet_v2": (147.39, 120.10),
        "mobilenet_v3": (119.04, 91.43),
        "shufflenet": (72.96, 63.93),
        "mnasnet": (126.53, 98.45),
        "efficientnet_b0": (202.14, 152.51),
    },
)
