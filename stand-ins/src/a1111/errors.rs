//! Values that Python fails on, and the failures that tests call for.
//! In: a request that has begun. Out: class and text, as recorded, at the place where the server raises them.

use super::generate::Run;
use super::lists;
use super::settings::Raised;
use serde_json::json;

impl Run<'_> {
    /// What Python would say of these values, at the place where it does.
    pub(super) fn faults_before_loading(&self) -> Result<(), Raised> {
        let text = |text: &str| text.to_owned();
        let hires = self.fields.get("enable_hr") == Some(&json!(true));
        if self.fields["prompt"].is_null() {
            return Err(("AssertionError", String::new()));
        }
        if self.is_plot() && self.fields["script_args"].as_array().is_none_or(Vec::is_empty) {
            let missing = "'x_type', 'x_values', 'x_values_dropdown', 'y_type', 'y_values', 'y_values_dropdown', 'z_type', \
                           'z_values', 'z_values_dropdown', 'draw_legend', 'include_lone_images', 'include_sub_grids', \
                           'no_fixed_seeds', 'vary_seeds_x', 'vary_seeds_y', 'vary_seeds_z', 'margin_size', and 'csv_mode'";
            return Err(("TypeError", format!("Script.run() missing 18 required positional arguments: {missing}")));
        }
        if self.whole("steps") == 0 {
            return Err(("ZeroDivisionError", text("integer division or modulo by zero")));
        }
        if self.whole("n_iter") == 0 || self.whole("batch_size") == 0 {
            return Err(("IndexError", text("list index out of range")));
        }
        if hires
            && let Some(name) = self.fields["hr_upscaler"].as_str()
            && !["upscalers", "latent-upscale-modes"]
                .iter()
                .any(|list| lists::list(list).as_array().into_iter().flatten().any(|known| known["name"] == name))
        {
            return Err(("Exception", format!("could not find upscaler named {name}")));
        }
        Ok(())
    }

    pub(super) fn faults_after_loading(&self) -> Result<(), Raised> {
        if let Some((class, text)) = self.server.quirks().fail_next.take() {
            return Err((leaked(class), text));
        }
        if self.server.quirks().full_until_unloaded {
            return Err(("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB".to_owned()));
        }
        if self.whole("steps") < 0 {
            return Err(("RuntimeError", "number of steps must be non-negative".to_owned()));
        }
        if self.whole("width") < 8 || self.whole("height") < 8 {
            let what = "Calculated padded input size per channel: (10 x 2). Kernel size: (3 x 3). Kernel size can't be \
                        greater than actual input size";
            return Err(("RuntimeError", what.to_owned()));
        }
        if self.fields["cfg_scale"].is_null() {
            return Err(("TypeError", "unsupported operand type(s) for *: 'NoneType' and 'float'".to_owned()));
        }
        Ok(())
    }
}

/// Classes are few, and live as long as the program.
fn leaked(class: String) -> &'static str {
    let known = [
        "AttributeError",
        "MemoryError",
        "NansException",
        "OSError",
        "OutOfMemoryError",
        "RuntimeError",
        "SafetensorError",
        "TypeError",
    ];
    known.into_iter().find(|known| *known == class).unwrap_or("Exception")
}
