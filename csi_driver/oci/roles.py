"""What a file of a model is for, told by its name as modctl tells it when it packs a directory."""

import re

from csi_driver.oci.media import Role

LARGE_FILE_BYTES = 128 * 1024 * 1024
"""A file of an unknown kind that is larger holds weights, in modctl's experience."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WEIGHT_SUFFIXES = _words(
    """
    safetensors gguf ggml ggmf ggjt q4_0 q4_1 q5_0 q5_1 q8_0 f16 f32
    bin pt pth pt2 pte ptl mar ckpt checkpoint dist_ckpt tensor weights embedding
    onnx engine trt tflite h5 hdf hdf5 pb keras msgpack npy npz mlmodel caffemodel llamafile
    """
)
"""Extensions, in lower case, of files that hold parameters and nothing else."""

_PACKED_AS_WEIGHTS = WEIGHT_SUFFIXES | _words(
    """
    index state vocab ot model pkl pickle joblib nc coreml mil mleap surml prototxt dlc circle nb
    arrow parquet ftz ark db
    """
)
_CONFIG_SUFFIXES = _words(
    """
    json jsonl json5 jsonc yaml yml toml ini cfg conf config properties props prop xml xsd rng
    modelcard meta params hparams hyperparams wandb mlflow tensorboard tiktoken
    """
)
_CODE_SUFFIXES = _words(
    """
    py ipynb sh bash zsh c h cc cpp cxx hpp cu cuh java js mjs ts go rs rb swift scala kt jl lua pl r m
    sql sqlite patch mk cmake bzl so dll dylib lib a
    """
)
_DOC_SUFFIXES = _words(
    """
    md txt rst adoc asciidoc textile wiki mediawiki tex latex ltx texi texinfo bib org info man chm hlp
    pdf xps html htm xhtml mhtml mht xsl xslt log rtf csv pages wpd numbers key mobi azw azw3 epub fb2
    fb3 lit pdb djvu djv doc docx docm dot dotx dotm odt ott fodt xls xlsx xlsm xlsb xlt xltx xltm ods ots fods
    ppt pptx pptm pps ppsx ppsm pot potx potm odp otp fodp
    jpg jpeg png gif bmp tiff ico webp heic heif hevc svg mp4 mov avi mkv webm m4v flv wmv mpg mpeg
    """
)
_CONFIG_NAME = re.compile(
    r".*tokenizer\.model.*|config\.json\..*|(?:vocab|merges|added_tokens)\.txt|chat_template\.jinja|"
    r"spiece\.model|tiktoken\.model|sentencepiece.*\.(?:model|vocab)",
    re.DOTALL,
)
_WEIGHT_NAME = re.compile(r".*\.data-.*|.*\.(?:bin|gguf|llamafile)\..*|.*\.onnx_data.*|tensor\d+_\d+", re.DOTALL)
_CODE_NAME = re.compile(r"(?:makefile|dockerfile|cmakelists\.txt|requirements.*\.txt)(?:\..*)?", re.DOTALL)
_DOC_NAME = re.compile(r"license.*|readme.*|setup.*|.*requirements.*|.*\.tfevents.*", re.DOTALL)
_LEFT_OUT = re.compile(r"\..*|modelfile|__pycache__|.*\.py[cod]", re.DOTALL)


def role_of_file(path: str, size: int) -> Role:
    """The role to pack a file under, from its name and its size in bytes; letter case does not matter.

    The order of the questions is modctl's: configuration, weights, code, documentation; then the size decides.
    """
    name = _name(path)
    suffix = _suffix(name)
    if suffix in _CONFIG_SUFFIXES or _CONFIG_NAME.fullmatch(name):
        return Role.WEIGHT_CONFIG
    if suffix in _PACKED_AS_WEIGHTS or _WEIGHT_NAME.fullmatch(name):
        return Role.WEIGHT
    if suffix in _CODE_SUFFIXES or _CODE_NAME.fullmatch(name):
        return Role.CODE
    if suffix in _DOC_SUFFIXES or _DOC_NAME.fullmatch(name):
        return Role.DOC
    return Role.WEIGHT if size > LARGE_FILE_BYTES else Role.CODE


def holds_weights(path: str) -> bool:
    """Whether the name alone says that the file holds parameters."""
    return _suffix(_name(path)) in WEIGHT_SUFFIXES


def is_left_out(name: str) -> bool:
    """Whether a directory entry of this name is not packed unless asked for: hidden files, bytecode, the Modelfile."""
    return _LEFT_OUT.fullmatch(name.lower()) is not None


def _name(path: str) -> str:
    return path.rpartition("/")[2].lower()


def _suffix(name: str) -> str:
    return name.rpartition(".")[2] if "." in name else ""
