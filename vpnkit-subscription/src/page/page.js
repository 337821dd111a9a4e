"use strict";
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
