// The page of a subscription in a real Chromium, at the size of a phone and of a desk. Pictures: target/page.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";

import puppeteer from "puppeteer-core";
import { openSandbox } from "vpnkit/testing";

import { repository } from "./shared.mjs";

const pictures = join(repository, "target", "page");
const phone = { width: 375, height: 812, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const desk = { width: 1280, height: 900 };

let kit, server, browser, url;

before(async () => {
  mkdirSync(pictures, { recursive: true });
  kit = await openSandbox();
  for (const [i, type] of ["webSocket", "httpUpgrade", "tcp"].entries()) {
    const transport = type === "tcp" ? { type } : { type, path: "/path" };
    await kit.inbounds.ensure({ tag: `in${i}`, port: 443 + i, protocol: { type: "vless" }, transport });
    const remark = ["🇩🇪 Frankfurt · {DATA_LEFT}", "🇳🇱 <b>Amsterdam</b> & co", "🇫🇮 Helsinki"][i];
    await kit.hosts.set(`in${i}`, [{ remark, addresses: ["vpn.example.com"] }]);
  }
  const key = await kit.keys.create({ name: "alice", dataLimit: "50 GiB", days: 30 });
  for (let day = 0; day < 12; day += 1) {
    await kit.passTraffic(key, { up: (day * 40 + 60) * 2 ** 20, down: (((day * 7) % 11) + 1) * 2 ** 29 });
    await kit.tick();
    await kit.advance({ days: 1 });
  }
  server = createServer(async (request, response) => {
    const [, , token, format] = request.url.split("/");
    const answer = await kit.subscriptions.forRequest(token ?? "", request.headers, format);
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const baseUrl = `http://127.0.0.1:${server.address().port}/s`;
  await kit.subscriptions.configure({ baseUrl, title: "Example VPN", supportUrl: "https://t.me/example" });
  url = await kit.subscriptions.url(key);
  // Root has no sandbox of Chromium's.
  browser = await puppeteer.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
});

after(async () => {
  await browser?.close();
  server?.close();
  await kit?.close();
});

/** A page that was opened, with everything that it asked for and complained of. */
async function opened({ viewport = phone, language = "en", scheme = "light", script = true } = {}) {
  const page = await browser.newPage();
  const seen = { requests: [], complaints: [] };
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("console", (message) => seen.complaints.push(message.text()));
  page.on("pageerror", (error) => seen.complaints.push(String(error)));
  await page.setViewport(viewport);
  await page.setJavaScriptEnabled(script);
  await page.setExtraHTTPHeaders({ "accept-language": language });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(url, { waitUntil: "networkidle0" });
  return { page, seen };
}

for (const [name, viewport] of Object.entries({ phone, desk })) {
  for (const language of ["en", "ru", "fa", "zh"]) {
    for (const scheme of ["light", "dark"]) {
      test(`${name}, ${language}, ${scheme}: it fits, asks nobody and complains of nothing`, async () => {
        const { page, seen } = await opened({ viewport, language, scheme });
        const file = join(pictures, `${name}-${language}-${scheme}.png`);
        await page.screenshot({ path: file, fullPage: true });
        const found = await page.evaluate(() => ({
          language: document.documentElement.lang,
          direction: document.documentElement.dir,
          wide: document.documentElement.scrollWidth - innerWidth,
          small: [...document.querySelectorAll("button, a.button, select, summary")]
            .map((one) => one.getBoundingClientRect())
            .filter((box) => box.width > 0 && box.height < 44).length,
          paper: getComputedStyle(document.body).backgroundColor,
          bars: document.querySelectorAll(".chart .down").length,
        }));
        assert.deepEqual(
          [found.language, found.direction, found.wide <= 0, found.small, found.bars],
          [language, language === "fa" ? "rtl" : "ltr", true, 0, 12],
        );
        assert.equal(found.paper === "rgb(11, 18, 32)", scheme === "dark");
        assert.deepEqual([seen.requests, seen.complaints], [[url], []]);
        await page.close();
      });
    }
  }
}

test("another language is chosen without a request", async () => {
  const { page, seen } = await opened();
  await page.select("#language", "fa");
  const found = await page.evaluate(() => [
    document.documentElement.dir,
    document.querySelector(".badge").textContent,
    document.querySelector("[data-jalali]").textContent,
  ]);
  assert.deepEqual(found, ["rtl", "فعال", "1404-11-11"]);
  assert.deepEqual(seen.requests, [url]);
  await page.close();
});

test("the link is copied, the QR code shown, remarks are text", async () => {
  const { page } = await opened({ viewport: desk });
  await browser.defaultBrowserContext().overridePermissions(new URL(url).origin, ["clipboard-read", "clipboard-sanitized-write"]);
  await page.bringToFront();
  await page.click("[data-copy]");
  await page.waitForFunction(() => document.querySelector("[data-copy]").textContent === "Copied");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), url);
  await page.click("section > details > summary");
  // Drawn when the browser tells that it is open, which is after the click.
  const box = await (await page.waitForSelector(".qr svg")).boundingBox();
  assert.ok(box.width > 200 && Math.abs(box.width - box.height) < 1);
  const remarks = await page.$$eval("li summary bdi", (all) => all.map((one) => one.textContent));
  assert.ok(remarks.includes("🇳🇱 <b>Amsterdam</b> & co"), String(remarks));
  const links = await page.$$eval(".apps a", (all) => all.map((one) => one.href));
  assert.ok(links.includes(`happ://add/${url}`) && links.length >= 10);
  assert.ok(!links.some((link) => link.startsWith("ssconf:")), "Outline finds nothing here");
  await page.close();
});

test("without scripts it can be read", async () => {
  const { page } = await opened({ language: "ru", script: false });
  const text = await page.evaluate(() => document.body.innerText).catch(() => null);
  // Without scripts nothing can be evaluated: the tree of accessibility tells what there is.
  const tree = JSON.stringify((await page.accessibility.snapshot()) ?? text);
  assert.ok(tree.includes("Example VPN") && tree.includes("Активна"), tree.slice(0, 300));
  await page.close();
});

test("a script that a page did not bring does not run", async () => {
  const { page, seen } = await opened();
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "document.title = 'owned'";
    document.body.append(script);
  });
  assert.equal(await page.title(), "Example VPN");
  assert.ok(seen.complaints.some((complaint) => complaint.includes("Content Security Policy")));
  await page.close();
});

test("a key that is over says so", async () => {
  await kit.keys.disable("alice");
  const { page } = await opened({ language: "en" });
  await page.screenshot({ path: join(pictures, "disabled.png"), fullPage: true });
  const found = await page.evaluate(() => [
    document.querySelector(".notice").textContent,
    document.querySelectorAll(".apps a, li").length,
  ]);
  assert.deepEqual(found, ["⛔ The subscription is switched off", 0]);
  await page.close();
  await kit.keys.enable("alice");
});
