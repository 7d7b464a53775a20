"""Verdicts on whether a section's image and molecules belong together, and what to ask then."""

ALIGNED, SHIFTED, SCALED = "aligned", "shifted", "scaled"
UNRELATED, NOT_CHECKED, NO_STAIN = "unrelated", "not checked", "no nuclear stain"
REMEDY = {
    SHIFTED: "Was the image cropped or padded after the platform's software had seen it?",
    SCALED: "Was the image resized after the platform's software had seen it?",
    UNRELATED: "Is this the image of another section?",
    NO_STAIN: "Is this the CytAssist image? The microscope's full-resolution H&E is needed.",
}
TURNED = "Was the image turned or mirrored after the platform's software had seen it?"
