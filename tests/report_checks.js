// Looks for faults that a reader would see; tests/report_screenshots.sh appends it to a page.
(() => {
  const faults = [];
  const wide = document.documentElement.clientWidth;
  const say = (what, element) =>
    faults.push(what + ": " + (element.textContent || element.className || element.tagName).trim().slice(0, 60));
  const scrolls = (element) => element.closest(".scroll, pre") !== null;

  if (wide !== innerWidth) faults.push(`the page is ${wide} wide in a window of ${innerWidth}`);
  if (document.documentElement.scrollWidth > innerWidth) faults.push("the page scrolls sideways");
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (box.width === 0 || (scrolls(element) && !element.matches(".scroll, pre"))) continue;
    if (box.left < -0.5 || box.right > innerWidth + 0.5) say("leaves the window", element);
    const cut = element.matches("h1,h2,p,b,i,span,dd,dt,figcaption") &&
      element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0;
    if (cut) say("is cut", element);
  }
  for (const svg of document.querySelectorAll("svg")) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map((text) => [text, text.getBoundingClientRect()]);
    texts.forEach(([text, a], i) => {
      if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 ||
          a.bottom > frame.bottom + 3) say("is cut by its chart", text);
      // Line boxes are taller than their letters: neighbours may share a sliver.
      const sliver = a.height * 0.25;
      for (const [other, b] of texts.slice(0, i))
        if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - sliver &&
            b.top < a.bottom - sliver) say(`lies over "${other.textContent}"`, text);
      const size = parseFloat(getComputedStyle(text).fontSize) * frame.width / svg.viewBox.baseVal.width;
      if (size < 9) say(`is ${size.toFixed(1)} pixels high`, text);
    });
  }
  for (const image of document.images)
    if (!image.complete || image.naturalWidth === 0) say("does not load", image);

  const answer = document.createElement("pre");
  answer.id = "checks";
  answer.dataset.height = Math.ceil(document.documentElement.scrollHeight);
  answer.textContent = faults.length === 0 ? "sound" : faults.join("\n");
  document.body.append(answer);
})();
