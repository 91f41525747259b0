//! What Python's exceptions stand for, by class and by how their text begins.
//! In: the class and text of an exception that ended a run. Out: its cause, if it is one of those that are known.
//!
//! Texts repeat what the job says, so nothing is looked for inside them: a class counts by its whole name, a text by its
//! beginning, and only where the class alone says too little.

/// What an exception is about, when it is not about the job's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The GPU's memory ran out.
    GpuMemory,
    /// The machine's memory ran out.
    MainMemory,
    /// A disk is full.
    Disk,
    /// A model file cannot be read.
    ModelFile,
    /// The GPU or its driver failed.
    Gpu,
}

/// Class without its module, beginnings of its text (none: any text), cause.
///
/// Recorded from running servers: `torch.OutOfMemoryError`, `safetensors._safetensors_rust.SafetensorError`. From PyTorch's
/// own sources: the other class names and the beginnings. From Python's: `MemoryError`, and errno 28 on Linux.
const KNOWN: &[(&str, &[&str], Cause)] = &[
    ("OutOfMemoryError", &[], Cause::GpuMemory),
    ("MemoryError", &[], Cause::MainMemory),
    ("SafetensorError", &[], Cause::ModelFile),
    ("UnpicklingError", &[], Cause::ModelFile),
    ("AcceleratorError", &[], Cause::Gpu),
    // What older releases of PyTorch raise in place of classes of their own.
    ("RuntimeError", &["CUDA out of memory.", "HIP out of memory.", "MPS backend out of memory"], Cause::GpuMemory),
    ("RuntimeError", &["CUDA error: ", "HIP error: ", "cuDNN error: "], Cause::Gpu),
    ("OSError", &["[Errno 28] "], Cause::Disk),
];

/// The cause, if it is known.
pub(crate) fn cause(class: &str, text: &str) -> Option<Cause> {
    let bare = class.rsplit('.').next().unwrap_or_default();
    let begins = |beginnings: &[&str]| beginnings.is_empty() || beginnings.iter().any(|it| text.starts_with(it));
    KNOWN.iter().find(|(known, beginnings, _)| *known == bare && begins(beginnings)).map(|(.., cause)| *cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_count_whole_and_texts_by_their_beginning() {
        let full = "[Errno 28] No space left on device: '/opt/x'";
        for (class, text, expected) in [
            ("torch.OutOfMemoryError", "Allocation on device", Some(Cause::GpuMemory)),
            ("torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to", Some(Cause::GpuMemory)),
            ("OutOfMemoryError", "", Some(Cause::GpuMemory)),
            ("RuntimeError", "CUDA out of memory. Tried to allocate 2.00 GiB", Some(Cause::GpuMemory)),
            ("RuntimeError", "HIP out of memory. Tried to allocate 2.00 GiB", Some(Cause::GpuMemory)),
            ("MemoryError", "", Some(Cause::MainMemory)),
            ("safetensors._safetensors_rust.SafetensorError", "incomplete metadata", Some(Cause::ModelFile)),
            ("_pickle.UnpicklingError", "invalid load key", Some(Cause::ModelFile)),
            ("torch.AcceleratorError", "CUDA error: uncorrectable ECC error", Some(Cause::Gpu)),
            ("RuntimeError", "CUDA error: an illegal memory access was encountered", Some(Cause::Gpu)),
            ("RuntimeError", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", Some(Cause::Gpu)),
            ("OSError", full, Some(Cause::Disk)),
            // What a job wrote, in an error about it, says nothing about the machine.
            ("ValueError", "cannot draw 'CUDA error: CUDA out of memory. No space left on device'", None),
            ("RuntimeError", "bad prompt: CUDA out of memory.", None),
            ("ValueError", "CUDA out of memory.", None),
            ("ValueError", full, None),
            ("OSError", "[Errno 2] No such file or directory: 'No space left on device'", None),
            ("my_nodes.NotAnOutOfMemoryError", "", None),
            ("OutOfMemoryError.SomethingElse", "", None),
            ("", "", None),
        ] {
            assert_eq!(cause(class, text), expected, "{class}: {text}");
        }
    }
}
