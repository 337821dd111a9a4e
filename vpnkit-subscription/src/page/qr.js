"use strict";
/**
 * Makes a QR code (ISO/IEC 18004) of a text: bytes, the lowest error correction, the smallest version. Returns rows of booleans,
 * true is dark; `null` when the text is too long.
 */
const qrCode = (text) => {
  // Of error correction level L, by version: check bytes of a block, and blocks.
  const CHECK = [
    7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28, 28, 28, 30, 30, 26, 28, 30, 30, 30, 30,
    30, 30, 30, 30, 30, 30, 30, 30, 30, 30,
  ];
  const BLOCKS = [
    1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8, 8, 9, 9, 10, 12, 12, 12, 13, 14, 15, 16, 17, 18, 19, 19,
    20, 21, 22, 24, 25,
  ];

  /** Modules that carry data and check bits, rounded down to bytes. */
  const capacity = (version) => {
    let bits = (16 * version + 128) * version + 64;
    if (version >= 2) {
      const aligned = Math.floor(version / 7) + 2;
      bits -= (25 * aligned - 10) * aligned - 55;
      if (version >= 7) bits -= 36;
    }
    return Math.floor(bits / 8);
  };
  const dataBytes = (version) => capacity(version) - CHECK[version - 1] * BLOCKS[version - 1];

  const bytes = new TextEncoder().encode(text);
  const countBits = (version) => (version < 10 ? 8 : 16);
  let version = 1;
  while (version <= 40 && 4 + countBits(version) + 8 * bytes.length > 8 * dataBytes(version)) version += 1;
  if (version > 40) return null;

  // The bits: mode, length, bytes, terminator, padding.
  const bits = [];
  const push = (value, length) => {
    for (let i = length - 1; i >= 0; i -= 1) bits.push((value >>> i) & 1);
  };
  push(4, 4);
  push(bytes.length, countBits(version));
  for (const byte of bytes) push(byte, 8);
  const room = 8 * dataBytes(version);
  push(0, Math.min(4, room - bits.length));
  push(0, (8 - (bits.length % 8)) % 8);
  for (let pad = 0xec; bits.length < room; pad ^= 0xec ^ 0x11) push(pad, 8);
  const data = [];
  for (let i = 0; i < bits.length; i += 8) data.push(parseInt(bits.slice(i, i + 8).join(""), 2));

  // Reed-Solomon over GF(2^8) with 0x11d.
  const times = (x, y) => {
    let product = 0;
    for (let i = 7; i >= 0; i -= 1) {
      product = (product << 1) ^ ((product >>> 7) * 0x11d);
      product ^= ((y >>> i) & 1) * x;
    }
    return product & 0xff;
  };
  const checkLength = CHECK[version - 1];
  const divisor = new Array(checkLength).fill(0);
  divisor[checkLength - 1] = 1;
  for (let i = 0, root = 1; i < checkLength; i += 1, root = times(root, 2)) {
    for (let j = 0; j < checkLength; j += 1) {
      divisor[j] = times(divisor[j], root) ^ (divisor[j + 1] ?? 0);
    }
  }
  const remainder = (block) => {
    const rest = new Array(checkLength).fill(0);
    for (const byte of block) {
      const factor = byte ^ rest.shift();
      rest.push(0);
      divisor.forEach((coefficient, i) => { rest[i] ^= times(coefficient, factor); });
    }
    return rest;
  };

  // Blocks, the shorter ones first, interleaved byte by byte.
  const count = BLOCKS[version - 1];
  const total = capacity(version);
  const short = count - (total % count);
  const blocks = [];
  for (let i = 0, start = 0; i < count; i += 1) {
    const length = Math.floor(total / count) - checkLength + (i < short ? 0 : 1);
    const block = data.slice(start, start + length);
    start += length;
    blocks.push({ block, check: remainder(block) });
  }
  const words = [];
  const longest = blocks[count - 1].block.length;
  for (let i = 0; i < longest; i += 1) for (const { block } of blocks) if (i < block.length) words.push(block[i]);
  for (let i = 0; i < checkLength; i += 1) for (const { check } of blocks) words.push(check[i]);

  // The fixed patterns.
  const size = version * 4 + 17;
  const dark = Array.from({ length: size }, () => new Array(size).fill(false));
  const fixed = Array.from({ length: size }, () => new Array(size).fill(false));
  const set = (x, y, value) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    dark[y][x] = value;
    fixed[y][x] = true;
  };
  for (let i = 0; i < size; i += 1) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  const finder = (cx, cy) => {
    for (let dy = -4; dy <= 4; dy += 1) {
      for (let dx = -4; dx <= 4; dx += 1) {
        const distance = Math.max(Math.abs(dx), Math.abs(dy));
        set(cx + dx, cy + dy, distance !== 2 && distance !== 4);
      }
    }
  };
  finder(3, 3);
  finder(size - 4, 3);
  finder(3, size - 4);
  const alignment = [];
  if (version > 1) {
    const aligned = Math.floor(version / 7) + 2;
    const step = Math.floor((version * 8 + aligned * 3 + 5) / (aligned * 4 - 4)) * 2;
    for (let i = 0, place = size - 7; i < aligned - 1; i += 1, place -= step) alignment.unshift(place);
    alignment.unshift(6);
  }
  const last = alignment.length - 1;
  alignment.forEach((cx, i) => {
    alignment.forEach((cy, j) => {
      if ((i === 0 && j === 0) || (i === 0 && j === last) || (i === last && j === 0)) return;
      for (let dy = -2; dy <= 2; dy += 1) {
        for (let dx = -2; dx <= 2; dx += 1) set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
      }
    });
  });
  const format = (mask) => {
    const value = (1 << 3) | mask;
    let rest = value;
    for (let i = 0; i < 10; i += 1) rest = (rest << 1) ^ ((rest >>> 9) * 0x537);
    const all = ((value << 10) | rest) ^ 0x5412;
    const bit = (i) => ((all >>> i) & 1) === 1;
    for (let i = 0; i <= 5; i += 1) set(8, i, bit(i));
    set(8, 7, bit(6));
    set(8, 8, bit(7));
    set(7, 8, bit(8));
    for (let i = 9; i < 15; i += 1) set(14 - i, 8, bit(i));
    for (let i = 0; i < 8; i += 1) set(size - 1 - i, 8, bit(i));
    for (let i = 8; i < 15; i += 1) set(8, size - 15 + i, bit(i));
    set(8, size - 8, true);
  };
  format(0);
  if (version >= 7) {
    let rest = version;
    for (let i = 0; i < 12; i += 1) rest = (rest << 1) ^ ((rest >>> 11) * 0x1f25);
    const all = (version << 12) | rest;
    for (let i = 0; i < 18; i += 1) {
      const [a, b] = [size - 11 + (i % 3), Math.floor(i / 3)];
      set(a, b, ((all >>> i) & 1) === 1);
      set(b, a, ((all >>> i) & 1) === 1);
    }
  }

  // The bits, in columns of two from the right, upwards and downwards in turn.
  let next = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let vertical = 0; vertical < size; vertical += 1) {
      for (let j = 0; j < 2; j += 1) {
        const x = right - j;
        const y = ((right + 1) & 2) === 0 ? size - 1 - vertical : vertical;
        if (fixed[y][x] || next >= words.length * 8) continue;
        dark[y][x] = ((words[next >>> 3] >>> (7 - (next & 7))) & 1) === 1;
        next += 1;
      }
    }
  }

  // The mask under which the fewest modules lie in long runs and blocks of one colour.
  const MASKS = [
    (x, y) => (x + y) % 2,
    (x, y) => y % 2,
    (x) => x % 3,
    (x, y) => (x + y) % 3,
    (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
    (x, y) => ((x * y) % 2) + ((x * y) % 3),
    (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
    (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
  ];
  const apply = (mask) => {
    for (let y = 0; y < size; y += 1) {
      for (let x = 0; x < size; x += 1) if (!fixed[y][x] && MASKS[mask](x, y) === 0) dark[y][x] = !dark[y][x];
    }
  };
  const penalty = () => {
    let sum = 0;
    for (const at of [(i, j) => dark[i][j], (i, j) => dark[j][i]]) {
      for (let i = 0; i < size; i += 1) {
        let run = 1;
        for (let j = 1; j <= size; j += 1) {
          if (j < size && at(i, j) === at(i, j - 1)) run += 1;
          else {
            if (run >= 5) sum += run - 2;
            run = 1;
          }
        }
      }
    }
    for (let y = 1; y < size; y += 1) {
      for (let x = 1; x < size; x += 1) {
        if (dark[y][x] === dark[y - 1][x] && dark[y][x] === dark[y][x - 1] && dark[y][x] === dark[y - 1][x - 1]) sum += 3;
      }
    }
    return sum;
  };
  let best = 0;
  let least = Infinity;
  for (let mask = 0; mask < 8; mask += 1) {
    apply(mask);
    format(mask);
    const found = penalty();
    if (found < least) [best, least] = [mask, found];
    apply(mask);
  }
  apply(best);
  format(best);
  return dark;
};
