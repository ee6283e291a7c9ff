import numpy as np
import pytest
import torch

from detection import detector, temporal_head
from detection.detector import head_probs
from detection.match_features import PIECE_STEPS
from detection.temporal_head import HeadConfig, MatchHead, fit_head, hold_last, label_steps
from extraction.features import save_features
from files import UserError

SMALL = HeadConfig(every=4, feature_size=8, channels=8, dilations=(1, 2), dropout=0.0)


def match_of(seed: int, steps: int = 600):
    """Returns noisy features, of which one of 8 numbers shows play, and the rallies."""
    rng = np.random.default_rng(seed)
    starts = np.arange(8, steps * 4 / 30 - 8, 16) + rng.uniform(-2, 2)
    marks = [(float(s), float(s + rng.uniform(3, 8))) for s in starts]
    features = torch.from_numpy(rng.normal(size=(steps, 8)).astype(np.float32))
    labels, _ = label_steps(features, marks, 4)
    features[:, 3] += 1.5 * labels
    return features, marks


@pytest.fixture(scope="module")
def fitted():
    train, val = [match_of(k) for k in range(4)], [match_of(9)]
    return fit_head(train, val, SMALL, seed=1, max_epochs=15)


def test_the_head_beats_every_threshold_on_single_steps(fitted):
    head, history = fitted
    features, marks = match_of(20)
    labels, _ = label_steps(features, marks, 4)
    with torch.inference_mode():
        right = ((head(features[None])[0] > 0) == (labels > 0.5)).float().mean()
    best_alone = max(
        ((features[:, 3] > cut) == (labels > 0.5)).float().mean() for cut in np.arange(-1, 3, 0.1)
    )
    assert best_alone < 0.85
    assert right > 0.93
    assert history[-1][0] < history[0][0]


def test_the_same_seed_gives_the_same_head_and_leaves_the_callers_generator_alone():
    train, val = [match_of(1)], [match_of(2)]
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
    labels, known = label_steps(features, marks, 4)
    with torch.inference_mode():
        logits = head(features[None])[0]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert known.all() and float(loss) == pytest.approx(min(val for _, val in history), rel=1e-5)


def test_the_progress_bar_is_full_when_training_stops_early(monkeypatch, capsys):
    monkeypatch.setattr(temporal_head, "PATIENCE", 1)
    monkeypatch.setattr(temporal_head, "epochs_since_best", lambda losses: len(losses) - 1)
    _, history = fit_head([match_of(0)], [match_of(9)], SMALL, max_epochs=40)
    assert len(history) == 2
    last = capsys.readouterr().err.split("\r")[-1]
    assert "100%" in last and " 2/2 " in last


def test_validation_loss_is_a_mean_over_steps_not_over_matches():
    """A short match weighs less than a long one."""
    long, short = match_of(9, steps=3000), match_of(10, steps=300)
    train = [match_of(k) for k in range(2)]
    losses = [
        fit_head(train, val, SMALL, max_epochs=1)[1][0][1]
        for val in ([long], [short], [long, short])
    ]
    assert losses[2] == pytest.approx((10 * losses[0] + losses[1]) / 11, rel=1e-4)
    assert abs(losses[0] - losses[1]) > 1e-3  # else any mean would do


def test_unknown_steps_do_not_count_in_training():
    features, marks = match_of(1)
    spoilt = features.clone()
    spoilt[100:150] = float("nan")
    head, history = fit_head([(spoilt, marks)], [match_of(2)], SMALL, max_epochs=2)
    assert np.isfinite(history).all()
    assert torch.isfinite(head.feature_mean).all()


def test_matches_without_any_rally_are_refused():
    features, marks = match_of(1)
    for train, val in (([], marks), (marks, [])):
        with pytest.raises(UserError, match=r"no rally is marked.*labeling.py --match"):
            fit_head([(features, train)], [(features, val)], SMALL)


def write_pieces(folder, features):
    for piece, first in enumerate(range(0, len(features), PIECE_STEPS)):
        part = features[first : first + PIECE_STEPS][None]
        save_features(folder / f"{piece:05d}.safetensors", part, "")


def test_reading_block_by_block_gives_the_same_as_the_whole_match(tmp_path, monkeypatch, fitted):
    head, _ = fitted
    features, _ = match_of(20, steps=700)
    write_pieces(tmp_path, features)
    monkeypatch.setattr(detector, "BLOCK_STEPS", 64)
    times_sec, probs = head_probs(head, tmp_path, 700)
    with torch.inference_mode():
        expected = torch.sigmoid(head(features[None])[0]).numpy()
    assert np.allclose(probs, expected, atol=1e-5)
    assert times_sec[:3].tolist() == pytest.approx([0, 4 / 30, 8 / 30])


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
    _, probs = head_probs(head, tmp_path, 600)
    assert np.flatnonzero(np.isnan(probs)).tolist() == list(range(200, 260))


def test_unknown_steps_repeat_the_last_known_step_or_the_first():
    features = torch.tensor([[np.nan], [1.0], [np.nan], [np.nan], [2.0], [np.nan]])
    assert hold_last(features)[:, 0].tolist() == [1, 1, 1, 1, 2, 2]
    assert hold_last(torch.full((3, 2), np.nan)).tolist() == [[0, 0]] * 3


def test_steps_are_labelled_by_their_times():
    labels, known = label_steps(torch.zeros(6, 8), [(0.2, 0.5)], every=4)
    assert labels.tolist() == [0, 0, 1, 1, 0, 0]  # at 0, 0.133, 0.267, 0.4, 0.533, 0.667 s
    assert known.tolist() == [1] * 6
