//! Turns what a driver or kernel reports into the size that the thing is sold with, which is what jobs ask for.
//! In: bytes, model name, MIG profile. Out: gigabytes for matching.
//!
//! Drivers report GiB less what firmware and error correction keep: a 24 GB RTX 4090 says 24,564 MiB, a 16 GB T4 says 15,360 or
//! 15,079, a 24 GB A10 says 23,028. GDDR6 with ECC gives up 1/16 (6.25 %), firmware up to 1.7 % more; the largest loss known is the
//! T4's 8 %. The next size that was ever sold without being another card's size is further away: 11 GB is 91.7 % of 12 GB. So the
//! rule: the smallest size on sale of which the report is at least 92 %; none such: whole GiB, rounded. A size in the model's name
//! ("H100 80GB HBM3") is believed within the same tolerance. Sources: the `nvidia-smi` listings that people publish, NVIDIA's and
//! AMD's data sheets; the table test names each card.

const GIB: f64 = (1u64 << 30) as f64;

/// Sizes that cards were sold with, in GB, ascending.
const SOLD: [f64; 29] = [
    1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 11.0, 12.0, 16.0, 20.0, 24.0, 32.0, 36.0, 40.0, 48.0, 64.0, 72.0, 80.0,
    94.0, 96.0, 128.0, 141.0, 144.0, 180.0, 192.0, 256.0, 288.0,
];

/// Share of the nominal size that must be there. See the head of this file.
const LEAST_SHARE: f64 = 0.92;
/// Some drivers report a hair more than the nominal size.
const MOST_SHARE: f64 = 1.005;

/// The nominal size in GB of a card that reports `total_bytes` and is called `name`.
pub fn memory_gb(total_bytes: u64, name: &str) -> f64 {
    let gib = total_bytes as f64 / GIB;
    let fits = |size: &f64| (LEAST_SHARE..=MOST_SHARE).contains(&(gib / size));
    size_in(name).filter(fits).or_else(|| SOLD.into_iter().find(fits)).unwrap_or_else(|| whole(gib))
}

/// The size in GB that a MIG profile's name tells: 10 for `1g.10gb`, `1c.1g.10gb` and `1g.10gb+me`.
pub fn mig_memory_gb(profile: &str) -> Option<f64> {
    profile.split(['.', '+', ' ']).find_map(digits_before_gb)
}

/// RAM in GB as it is sold: the kernel reports a little less than what is built in. Rounded up by at most 1/16, or to a whole GB.
pub fn ram_gb(total_bytes: u64) -> f64 {
    let gib = total_bytes as f64 / GIB;
    let step = (gib / 16.0).max(1.0).log2().floor().exp2();
    (gib / step).ceil() * step
}

/// "80GB" in a model's name.
fn size_in(name: &str) -> Option<f64> {
    name.split([' ', '-', '_', '(', ')', '/']).find_map(digits_before_gb)
}

fn digits_before_gb(word: &str) -> Option<f64> {
    let lower = word.to_ascii_lowercase();
    let digits = lower.strip_suffix("gb")?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// A slice of a virtual GPU may be smaller than 1 GiB; half a GiB is told as such, not as 0 or 1.
fn whole(gib: f64) -> f64 {
    if gib < 1.0 { (gib * 10.0).round() / 10.0 } else { gib.round() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_have_the_size_they_are_sold_with() {
        let mib = [
            ("NVIDIA GeForce RTX 5090", 32_607, 32.0),
            ("NVIDIA GeForce RTX 4090", 24_564, 24.0),
            ("NVIDIA GeForce RTX 3090", 24_576, 24.0),
            ("NVIDIA GeForce RTX 4070", 12_282, 12.0),
            ("NVIDIA GeForce RTX 3080", 10_240, 10.0),
            ("NVIDIA GeForce RTX 3060", 12_288, 12.0),
            ("NVIDIA GeForce RTX 2080 Ti", 11_264, 11.0),
            ("NVIDIA GeForce RTX 2080 Ti", 22_528, 22.0),
            ("NVIDIA GeForce GTX 1080 Ti", 11_178, 11.0),
            ("NVIDIA GeForce GTX 1060 6GB", 6_078, 6.0),
            ("NVIDIA GeForce GTX 1060 3GB", 3_019, 3.0),
            ("NVIDIA GeForce GTX 1650", 3_911, 4.0),
            ("NVIDIA GeForce RTX 4060 Laptop GPU", 8_188, 8.0),
            ("Tesla T4", 15_360, 16.0),
            ("Tesla T4", 15_109, 16.0),
            ("Tesla T4", 15_079, 16.0),
            ("Tesla P40", 22_919, 24.0),
            ("Tesla P100-PCIE-16GB", 16_280, 16.0),
            ("Tesla K80", 11_441, 12.0),
            ("Tesla V100-SXM2-16GB", 16_160, 16.0),
            ("Tesla V100-SXM2-32GB", 32_510, 32.0),
            ("NVIDIA A10", 23_028, 24.0),
            ("NVIDIA A10G", 22_731, 24.0),
            ("NVIDIA L4", 23_034, 24.0),
            ("NVIDIA A30", 24_268, 24.0),
            ("NVIDIA A40", 46_068, 48.0),
            ("NVIDIA L40S", 46_068, 48.0),
            ("NVIDIA RTX 4000 Ada Generation", 20_475, 20.0),
            ("NVIDIA RTX 5000 Ada Generation", 30_712, 32.0),
            ("NVIDIA RTX A6000", 49_140, 48.0),
            ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 97_887, 96.0),
            ("NVIDIA A100-SXM4-40GB", 40_960, 40.0),
            ("A100-SXM4-40GB", 40_536, 40.0),
            ("NVIDIA A100-SXM4-80GB", 81_920, 80.0),
            ("NVIDIA A100 80GB PCIe", 81_251, 80.0),
            ("NVIDIA H100 80GB HBM3", 81_559, 80.0),
            ("NVIDIA H100 PCIe", 81_559, 80.0),
            ("NVIDIA H100 NVL", 95_830, 94.0),
            ("NVIDIA GH200 480GB", 97_871, 96.0),
            ("NVIDIA H200", 143_771, 141.0),
            ("NVIDIA B200", 183_359, 180.0),
            ("NVIDIA B300 SXM6 AC", 275_040, 288.0),
            ("GRID T4-16Q", 16_384, 16.0),
            ("GRID T4-1B", 512, 0.5),
            ("AMD Instinct MI300X", 196_592, 192.0),
            ("AMD Instinct MI210", 65_520, 64.0),
            ("AMD Radeon RX 7900 XT", 20_464, 20.0),
            ("AMD Radeon RX 7900 XTX", 24_560, 24.0),
        ];
        for (name, mib, expected) in mib {
            assert_eq!(memory_gb(mib << 20, name), expected, "{name} with {mib} MiB");
        }
    }

    #[test]
    fn a_wrong_size_in_the_name_is_not_believed() {
        assert_eq!(memory_gb(24_564 << 20, "Somebody's 80GB card"), 24.0);
    }

    #[test]
    fn mig_profiles_name_their_size() {
        let profiles = [
            ("1g.10gb", Some(10.0)),
            ("1g.5gb+me", Some(5.0)),
            ("1c.3g.40gb", Some(40.0)),
            ("7g.141gb", Some(141.0)),
            ("1g", None),
            ("gb", None),
        ];
        for (profile, expected) in profiles {
            assert_eq!(mig_memory_gb(profile), expected, "{profile}");
        }
    }

    #[test]
    fn ram_has_the_size_it_is_sold_with() {
        for (gib, expected) in [
            (1.9, 2.0),
            (7.6, 8.0),
            (15.5, 16.0),
            (31.2, 32.0),
            (62.7, 64.0),
            (125.7, 128.0),
            (251.6, 256.0),
            (503.5, 512.0),
            (1007.0, 1024.0),
            (60.0, 60.0),
        ] {
            assert_eq!(ram_gb((gib * GIB) as u64), expected, "{gib} GiB");
        }
    }
}
