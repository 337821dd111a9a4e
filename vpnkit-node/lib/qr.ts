/** QR codes of links, for bots to send. */
import { attempt } from "./errors.js";
import { native } from "./native.js";

/** A black and white PNG, at most `size` pixels a side (up to 4,096; default 512), with sharp edges. */
export const qrPng = (text: string, size = 512): Buffer => attempt(() => native.qrPng(text, size));

/** A black and white SVG without a size of its own. */
export const qrSvg = (text: string): string => attempt(() => native.qrSvg(text));

/** For a terminal with a dark background. */
export const qrTerminal = (text: string): string => attempt(() => native.qrTerminal(text));
