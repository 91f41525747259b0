//! Counts NVIDIA cards on the PCI bus, so that a missing driver can be told from a missing card.
//! In: the kernel's PCI folder. Out: a number.

use std::path::Path;

/// Display controllers (class 0x03) of vendor 0x10de. In a container the host's cards are counted too.
pub(super) fn nvidia_cards(root: &Path) -> usize {
    let Ok(devices) = std::fs::read_dir(root.join("sys/bus/pci/devices")) else {
        return 0;
    };
    let text = |path: &Path, name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
    devices
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| text(path, "vendor").trim() == "0x10de" && text(path, "class").starts_with("0x03"))
        .count()
}
