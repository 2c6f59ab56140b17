// The slider of the front page: how much the best of n equally good trials is too high on average.

// With F for the normal distribution function, the largest of n normal draws has the mean
// integral of ([x > 0] - F(x)^n) dx. The sum below is that integral, by steps of 0.001.
function expectedLuck(n, sd) {
  const step = 0.001;
  let below = 0, mean = 0;
  for (let i = -8000; i < 8000; i++) {
    const x = (i + 0.5) * step;
    const share = step * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
    mean += step * ((x > 0) - (below + share / 2) ** n);
    below += share;
  }
  return sd * mean;
}

for (const form of document.querySelectorAll(".luck")) {
  const { trials, spread, luck } = form.elements;
  const show = () => {
    const n = Number(trials.value), sd = Number(spread.value);
    trials.nextElementSibling.textContent = n;
    spread.nextElementSibling.textContent = `${sd.toFixed(1)} pp`;
    trials.setAttribute("aria-valuetext", `${n} trials`);
    spread.setAttribute("aria-valuetext", `${sd.toFixed(1)} percentage points`);
    luck.textContent = `${expectedLuck(n, sd).toFixed(2)} pp`;
  };
  form.addEventListener("input", show);
  show();
}
