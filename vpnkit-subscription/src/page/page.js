(() => {
  const texts = JSON.parse(document.getElementById("texts").textContent);
  const choice = document.getElementById("language");
  const root = document.documentElement;

  const say = (language) => {
    const known = texts[language];
    if (!known) return;
    root.lang = language;
    root.dir = choice.selectedOptions[0].dataset.direction;
    for (const place of document.querySelectorAll("[data-t]")) place.textContent = known[place.dataset.t];
    for (const date of document.querySelectorAll("[data-jalali]")) {
      date.textContent = language === "fa" ? date.dataset.jalali : date.dataset.gregorian;
    }
  };
  // QR codes are made when they are opened: there may be many, and few are looked at.
  const SVG = "http://www.w3.org/2000/svg";
  const draw = (place) => {
    const code = qrCode(place.dataset.qr);
    if (!code) return;
    const quiet = 4;
    const side = code.length + 2 * quiet;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${side} ${side}`);
    svg.setAttribute("shape-rendering", "crispEdges");
    const path = document.createElementNS(SVG, "path");
    let d = "";
    code.forEach((row, y) => row.forEach((dark, x) => { if (dark) d += `M${x + quiet} ${y + quiet}h1v1h-1z`; }));
    path.setAttribute("d", d);
    svg.append(path);
    place.replaceChildren(svg);
    place.hidden = false;
  };
  for (const place of document.querySelectorAll("[data-qr]")) {
    const details = place.closest("details");
    details.hidden = false;
    details.addEventListener("toggle", () => { if (details.open && !place.firstChild) draw(place); });
  }

  choice.closest("label").hidden = false;
  choice.addEventListener("change", () => say(choice.value));

  // Without HTTPS there is no clipboard API.
  const byHand = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("readonly", "");
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return byHand(text);
    }
  };
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      if (!(await copy(button.dataset.copy))) return;
      button.textContent = texts[root.lang].copied;
      setTimeout(() => { button.textContent = texts[root.lang].copy; }, 1500);
    });
  }
})();
