import numpy as np
import pytest
import torch

from annotation.ground_truth import Truth
from detection import temporal_head
from detection.match_features import PIECE_STEPS, StepFeatures, cached_steps, steps_in_memory
from detection.temporal_head import (
    CROP_STEPS,
    HeadConfig,
    MatchHead,
    fit_head,
    hold_last,
    label_steps,
    match_logits,
    mean_and_std,
)
from extraction.features import save_features
from files import UserError

SMALL = HeadConfig(every=4, feature_size=8, channels=8, dilations=(1, 2), dropout=0.0)


def match_of(seed: int, steps: int = 600):
    """Returns noisy features, of which one of 8 numbers shows play, and the rallies."""
    rng = np.random.default_rng(seed)
    starts = np.arange(8, steps * 4 / 30 - 8, 16) + rng.uniform(-2, 2)
    marks = [(float(s), float(s + rng.uniform(3, 8))) for s in starts]
    features = torch.from_numpy(rng.normal(size=(steps, 8)).astype(np.float32))
    labels, _ = label_steps(steps, Truth(marks), 4)
    features[:, 3] += 1.5 * labels
    return features, marks


def labelled(seed: int, steps: int = 600):
    """Returns the same as fit_head takes it."""
    features, marks = match_of(seed, steps)
    return steps_in_memory(features), Truth(marks)


@pytest.fixture(scope="module")
def fitted():
    train, val = [labelled(k) for k in range(4)], [labelled(9)]
    return fit_head(train, val, SMALL, seed=1, max_epochs=15)


def test_the_head_beats_every_threshold_on_single_steps(fitted):
    head, history = fitted
    features, marks = match_of(20)
    labels, _ = label_steps(len(features), Truth(marks), 4)
    with torch.inference_mode():
        right = ((head(features[None])[0] > 0) == (labels > 0.5)).float().mean()
    best_alone = max(
        ((features[:, 3] > cut) == (labels > 0.5)).float().mean() for cut in np.arange(-1, 3, 0.1)
    )
    assert best_alone < 0.85
    assert right > 0.93
    assert history[-1][0] < history[0][0]


def test_the_same_seed_gives_the_same_head_and_leaves_the_callers_generator_alone():
    train, val = [labelled(1)], [labelled(2)]
    before = torch.random.get_rng_state()
    one, _ = fit_head(train, val, SMALL, seed=3, max_epochs=2)
    assert torch.equal(before, torch.random.get_rng_state())
    other, _ = fit_head(train, val, SMALL, seed=3, max_epochs=2)
    third, _ = fit_head(train, val, SMALL, seed=4, max_epochs=2)
    weights = [head.embed.weight for head in (one, other, third)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_head_of_the_best_epoch_is_kept(fitted):
    head, history = fitted
    features, marks = match_of(9)
    labels, known = label_steps(len(features), Truth(marks), 4)
    with torch.inference_mode():
        logits = head(features[None])[0]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert known.all() and float(loss) == pytest.approx(min(val for _, val in history), rel=1e-5)


def test_the_progress_bar_is_full_when_training_stops_early(monkeypatch, capsys):
    monkeypatch.setattr(temporal_head, "PATIENCE", 1)
    monkeypatch.setattr(temporal_head, "epochs_since_best", lambda losses: len(losses) - 1)
    _, history = fit_head([labelled(0)], [labelled(9)], SMALL, max_epochs=40)
    assert len(history) == 2
    last = capsys.readouterr().err.split("\r")[-1]
    assert "100%" in last and " 2/2 " in last


def test_validation_loss_is_a_mean_over_steps_not_over_matches():
    """A short match weighs less than a long one."""
    long, short = labelled(9, steps=3000), labelled(10, steps=300)
    train = [labelled(k) for k in range(2)]
    losses = [
        fit_head(train, val, SMALL, max_epochs=1)[1][0][1]
        for val in ([long], [short], [long, short])
    ]
    assert losses[2] == pytest.approx((10 * losses[0] + losses[1]) / 11, rel=1e-4)
    assert abs(losses[0] - losses[1]) > 1e-3  # else any mean would do


def test_steps_without_features_do_not_count_in_training():
    features, marks = match_of(1)
    spoilt = features.clone()
    spoilt[100:150] = float("nan")
    match = steps_in_memory(spoilt), Truth(marks)
    head, history = fit_head([match], [labelled(2)], SMALL, max_epochs=2)
    assert np.isfinite(history).all()
    assert torch.isfinite(head.feature_mean).all()


def test_no_step_of_an_unknown_stretch_counts_in_either_loss():
    """Whatever the marks say about an unknown stretch, the head and its losses are the same."""
    features, marks = match_of(1)
    unknown = [(30.0, 45.0)]
    known = [(s, e) for s, e in marks if e < 30 or s > 45]
    fits = []
    for inside in ([], [(33.0, 41.0)]):
        match = (steps_in_memory(features), Truth(sorted(known + inside), unknown))
        fits.append(fit_head([match], [match], SMALL, max_epochs=2))
    (one, history), (other, other_history) = fits
    assert history == other_history
    assert torch.equal(one.embed.weight, other.embed.weight)
    everywhere = [(features_and, Truth(truth.rallies)) for features_and, truth in [match]]
    assert fit_head(everywhere, everywhere, SMALL, max_epochs=2)[1] != history


def test_whatever_the_marks_say_where_features_are_unknown_the_head_is_the_same():
    features, marks = match_of(1)
    features[225:338] = float("nan")  # 30 to 45 s
    known = [(s, e) for s, e in marks if e < 30 or s > 45]
    fits = []
    for inside in ([], [(33.0, 41.0)]):
        match = (steps_in_memory(features), Truth(sorted(known + inside)))
        fits.append(fit_head([match], [match], SMALL, max_epochs=2)[1])
    assert fits[0] == fits[1]


def test_a_match_shorter_than_a_crop_trains_the_head():
    short = labelled(3, steps=CROP_STEPS // 2)
    _, history = fit_head([short], [labelled(2)], SMALL, max_epochs=2)
    assert np.isfinite(history).all()


def test_training_reads_crops_and_never_a_whole_match():
    features, marks = match_of(1, steps=3000)
    most = []

    def read(first, last):
        most.append(last - first)
        return features[first:last]

    long = (StepFeatures(len(features), read), Truth(marks))
    _, lazily = fit_head([long], [labelled(2)], SMALL, max_epochs=2)
    assert max(most) <= CROP_STEPS
    _, at_once = fit_head([(steps_in_memory(features), Truth(marks))], [labelled(2)], SMALL, 0, 2)
    assert lazily == at_once


def test_a_second_fit_does_not_read_a_match_for_its_mean_again():
    features, marks = match_of(1)
    calls = []
    match = StepFeatures(600, lambda first, last: calls.append(1) or features[first:last])
    mean, std = mean_and_std([match, steps_in_memory(features[:300])])
    assert len(calls) == 3
    again, _ = mean_and_std([match])
    assert len(calls) == 3
    both = torch.cat([features, features[:300]])
    torch.testing.assert_close(mean, both.mean(0))
    torch.testing.assert_close(std, both.std(0))
    torch.testing.assert_close(again, features.mean(0))


def test_matches_without_any_rally_are_refused():
    match, (features, _) = labelled(1), labelled(2)
    for train, val in (([(features, Truth([]))], [match]), ([match], [(features, Truth([]))])):
        with pytest.raises(UserError, match=r"no rally is marked.*labeling.py --match"):
            fit_head(train, val, SMALL)


def write_pieces(folder, features):
    for piece, first in enumerate(range(0, len(features), PIECE_STEPS)):
        part = features[first : first + PIECE_STEPS][None]
        save_features(folder / f"{piece:05d}.safetensors", part, "")


def test_reading_block_by_block_gives_the_same_as_the_whole_match(tmp_path, monkeypatch, fitted):
    head, _ = fitted
    features, _ = match_of(20, steps=700)
    write_pieces(tmp_path, features)
    monkeypatch.setattr(temporal_head, "BLOCK_STEPS", 64)
    logits = match_logits(head, cached_steps(tmp_path, 700))
    with torch.inference_mode():
        expected = head(features[None])[0]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_a_step_depends_on_nothing_beyond_the_heads_reach():
    torch.manual_seed(0)
    head = MatchHead(HeadConfig(feature_size=8, channels=8, dilations=(1, 2, 4))).eval()
    reach = head.config.reach
    features = torch.randn(1, 101, 8, requires_grad=True)
    head(features)[0, 50].backward()
    touched = np.flatnonzero(features.grad[0].abs().sum(1) > 0)
    assert reach == 15
    assert touched.min() >= 50 - reach and touched.max() <= 50 + reach


def test_probabilities_are_unknown_where_the_features_are(tmp_path, fitted):
    head, _ = fitted
    features, _ = match_of(20)
    features[200:260] = float("nan")
    write_pieces(tmp_path, features)
    logits = match_logits(head, cached_steps(tmp_path, 600))
    assert np.flatnonzero(logits.isnan()).tolist() == list(range(200, 260))


def test_unknown_steps_repeat_the_last_known_step_or_the_first():
    features = torch.tensor([[np.nan], [1.0], [np.nan], [np.nan], [2.0], [np.nan]])
    assert hold_last(features)[:, 0].tolist() == [1, 1, 1, 1, 2, 2]
    assert hold_last(torch.full((3, 2), np.nan)).tolist() == [[0, 0]] * 3


def test_steps_are_labelled_by_their_times():
    truth = Truth([(0.2, 0.5)], [(0.5, 0.6)])
    labels, weights = label_steps(6, truth, every=4)
    assert labels.tolist() == [0, 0, 1, 1, 0, 0]  # at 0, 0.133, 0.267, 0.4, 0.533, 0.667 s
    assert weights.tolist() == [1, 1, 1, 1, 0, 1]
