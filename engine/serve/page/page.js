// The page of dfengine serve: sends pictures to /classify and /explain and shows what comes back.
'use strict';

const byId = (id) => document.getElementById(id);
const status = byId('status');
let key = '';
let waitingForKey = [];

byId('host').textContent = location.host;

// An element with text and children; text is never taken for markup.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

async function send(path, body) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  for (let tries = 0; ; ++tries) {
    const response = await fetch(path, { method: 'POST', body, headers });
    if (response.status !== 429 || tries === 5) return response;
    const seconds = Number(response.headers.get('Retry-After')) || 1;
    await new Promise((go) => setTimeout(go, 1000 * Math.min(seconds, 10)));
  }
}

async function classify(file) {
  const form = new FormData();
  form.append('picture', file, file.name || 'picture');
  const response = await send('/classify?stability=1', form);
  const answer = await response.json();
  if (!answer.results) throw Object.assign(new Error(answer.error), { code: response.status });
  return answer;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function scale(prob, threshold) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 1000 10');
  svg.setAttribute('preserveAspectRatio', 'none');
  for (const [name, x, width] of [['bar', 0, 1000 * prob], ['mark', 1000 * threshold - 3, 6]]) {
    const box = document.createElementNS(space, 'rect');
    for (const [a, v] of Object.entries({ class: name, x, y: 0, width, height: 10 })) box.setAttribute(a, v);
    svg.append(box);
  }
  return make('div', {
    class: 'scale', role: 'img', 'aria-label': `probability ${percent(prob)}, threshold ${percent(threshold)}`,
  }, svg);
}

function stabilityNote(result) {
  const range = `(${percent(result.prob_low)} to ${percent(result.prob_high)})`;
  return result.stable
    ? make('p', { class: 'note' }, `Stable: the verdict stays when the picture is saved again, made smaller or cropped ${range}.`)
    : make('p', { class: 'note unsure' }, `Not stable: the verdict turns when the picture is saved again, made smaller or cropped ${range}. Do not rely on it.`);
}

async function showHeatMap(file, verdict, pictures, button) {
  button.disabled = true;
  try {
    const response = await send('/explain', file);
    if (!response.ok) throw new Error((await response.json()).error);
    const image = make('img', { alt: `Where the evidence for ${verdict} lies, in red`, class: 'heat' });
    image.src = URL.createObjectURL(await response.blob());
    pictures.append(image);
    button.remove();
  } catch (error) {
    status.textContent = error.message;
    button.disabled = false;
  }
}

function show(file, result, answer) {
  const name = file.name || 'pasted picture';
  const pictures = make('div', { class: 'pictures' });
  const text = make('div', {}, make('h2', {}, name));
  if (result.error) {
    text.append(make('p', { class: 'error' }, result.error));
  } else {
    const shown = make('img', { alt: name });
    shown.src = URL.createObjectURL(file);
    pictures.append(shown);
    const prob = result.prob_fake;
    const side = prob >= answer.threshold ? 'fake' : 'real';
    const button = make('button', { type: 'button' }, 'Heat map');
    button.addEventListener('click', () => showHeatMap(file, result.verdict, pictures, button));
    const bar = scale(prob, answer.threshold);
    bar.classList.add(side);
    text.append(
      make('p', { class: `verdict ${side}` }, result.verdict),
      bar,
      make('p', { class: 'note' }, `Probability of being ${answer.positive_class}: ${percent(prob)}. The line is at ${percent(answer.threshold)}: from there on this detector says ${answer.positive_class}.`));
    if (result.unsure && result.stable) text.append(make('p', { class: 'note unsure' }, 'So close to the line the detector is unsure.'));
    text.append(stabilityNote(result), make('div', { class: 'buttons' }, button));
  }
  byId('answers').prepend(make('li', { class: 'answer' }, pictures, text));
}

async function take(files) {
  if (files.length === 0) return;
  status.textContent = files.length === 1 ? 'Looking at the picture …' : `Looking at ${files.length} pictures …`;
  let answered = 0;
  for (const file of files) {
    try {
      const answer = await classify(file);
      show(file, answer.results[0], answer);
      ++answered;
    } catch (error) {
      if (error.code === 401) {
        waitingForKey = files.slice(answered);
        byId('key-form').hidden = false;
        byId('key').focus();
        status.textContent = key ? 'That key does not open this service.' : '';
        return;
      }
      status.textContent = `${file.name || 'pasted picture'}: ${error.message}`;
      return;
    }
  }
  status.textContent = answered === 1 ? 'Done: 1 picture.' : `Done: ${answered} pictures.`;
}

byId('files').addEventListener('change', (event) => {
  take([...event.target.files]);
  event.target.value = '';
});
byId('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  key = byId('key').value;
  byId('key-form').hidden = true;
  take(waitingForKey);
});
document.addEventListener('paste', (event) => take([...event.clipboardData.files]));
for (const name of ['dragenter', 'dragover', 'dragleave', 'drop'])
  document.addEventListener(name, (event) => {
    event.preventDefault();
    byId('drop').classList.toggle('over', name === 'dragenter' || name === 'dragover');
    if (name === 'drop') take([...event.dataTransfer.files]);
  });
