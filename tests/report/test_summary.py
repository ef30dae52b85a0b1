"""What `make reproduce` ends with."""

from __future__ import annotations

from records import store

from mmadlib.__main__ import main
from mmadlib.experiments.results import merge_results


def test_the_table_or_what_to_do(tmp_path, capsys):
    assert main(["results", str(tmp_path)]) == 0
    assert "make reproduce" in capsys.readouterr().out
    for category, value in (("keyed", 0.25), ("plain", 0.75)):
        store(tmp_path / "runs", category=category,
              metrics={s: {"i_auroc": value, "aupro_30": 1.0, "i_ap": 0.125} for s in ("all", "rgb")})
    merge_results(tmp_path / "runs", tmp_path)
    assert main(["results", str(tmp_path)]) == 0 and "--own" in capsys.readouterr().out
    assert main(["results", str(tmp_path), "--own"]) == 0 and "rendered, 4 shots" in capsys.readouterr().out
    merge_results(tmp_path / "runs", tmp_path, into="results")
    assert main(["results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "rendered, 4 shots, I-AUROC" in out and "AUPRO@30" in out and "results.csv" in out
    assert [line.split()[-2:] for line in out.splitlines() if "CFM" in line] == [["0.500", "0.500"], ["1.000", "1.000"]]
    assert main(["results", str(tmp_path), "--metric", "i_ap", "p_ap"]) == 0
    out = capsys.readouterr().out
    assert "rendered, 4 shots, I-AP" in out and "0.125" in out and "0.500" not in out and "P-AP\nnot measured" in out
    assert main(["results", str(tmp_path), "--metric", "i_app"]) == 2 and "did you mean 'i_ap'" in capsys.readouterr().err


def test_methods_without_good_parts_stand_in_no_table_of_the_others(tmp_path, capsys):
    for method, value in (("cfm", 0.25), ("musc", 0.75)):
        store(tmp_path / "runs", method=method, shots=None, metrics={"all": {"i_auroc": value, "aupro_30": 1.0}})
    merge_results(tmp_path / "runs", tmp_path, into="results")
    assert main(["results", str(tmp_path), "--metric", "i_auroc"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")[1:3]
    assert first.startswith("rendered, full shots, I-AUROC") and "CFM" in first and "MuSc-V2" not in first
    assert second.startswith("rendered, no good parts, all parts at once, I-AUROC") and "MuSc-V2" in second
