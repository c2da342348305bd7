# SPDX-License-Identifier: LGPL-2.1-or-later
require_relative "helper"

class TestReadme < SafestartTest
  def test_the_first_example_runs
    example = File.read(File.join(__dir__, "..", "README.md"))[/^```ruby\n(.*?)^```/m, 1]
    text, status = run_ruby(example)
    assert status.success?, text
    assert_match(/\A.+\n10\.0\.0\.1\nclosed 10\.0\.0\.1\n\z/, text)
  end
end
